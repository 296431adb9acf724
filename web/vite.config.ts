import { gzipSync } from 'node:zlib'

import { defaultClientConditions, defineConfig, type Plugin } from 'vite'

import { licencesFile, WITHOUT_CODECS } from './bundle'

/** Keeps WebAssembly compressed in the package; `gliomask web build` unpacks it. */
function compressWasm(): Plugin {
  return {
    name: 'compress-wasm',
    enforce: 'post',
    generateBundle(_, bundle) {
      for (const [name, file] of Object.entries(bundle)) {
        if (!name.endsWith('.wasm') || file.type !== 'asset') continue
        delete bundle[name]
        this.emitFile({ type: 'asset', fileName: `${name}.gz`, source: gzipSync(file.source, { level: 9 }) })
      }
    },
  }
}

export default defineConfig({
  // Relative, so that the application works below any path.
  base: './',
  resolve: {
    alias: WITHOUT_CODECS,
    conditions: ['onnxruntime-web-use-extern-wasm', ...defaultClientConditions],
  },
  worker: { format: 'es', rollupOptions: { output: { entryFileNames: 'assets/[name]-[hash].js' } } },
  plugins: [compressWasm(), licencesFile(['@niivue/dcm2niix', 'dicom-parser', 'fflate', 'onnxruntime-web'])],
  build: {
    outDir: '../src/gliomask/web/app',
    emptyOutDir: true,
    target: 'es2022',
    assetsInlineLimit: 0,
    rollupOptions: {
      input: { index: 'index.html', 'service-worker': 'src/service-worker.ts' },
      output: { entryFileNames: (chunk) => (chunk.name === 'service-worker' ? '[name].js' : 'assets/[name]-[hash].js') },
    },
  },
  test: { include: ['test/**/*.test.ts'], testTimeout: 120_000, hookTimeout: 120_000 },
} as Parameters<typeof defineConfig>[0])
