import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'

import { defaultClientConditions, defineConfig, type Plugin } from 'vite'

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

/** Holders of packages that come without their MIT licence's text; it is then that of another package, with their name. */
const MIT_HOLDERS: Readonly<Record<string, string>> = { 'onnxruntime-web': 'Microsoft Corporation' }

function licenceText(name: string, folder: string): string {
  const file = readdirSync(folder).find((one) => /^licen[cs]e/i.test(one))
  if (file) return readFileSync(join(folder, file), 'utf8')
  const holder = MIT_HOLDERS[name]
  if (!holder) throw new Error(`${name} comes without the text of its licence. Say in vite.config.ts where it is.`)
  return readFileSync('node_modules/fflate/LICENSE', 'utf8').replace(/^Copyright .*$/m, `Copyright (c) ${holder}`)
}

/** Writes the licences of all that is bundled, for the page to link. */
function licences(): Plugin {
  return {
    name: 'licences',
    generateBundle() {
      const { dependencies } = JSON.parse(readFileSync('package.json', 'utf8')) as { dependencies: Record<string, string> }
      const texts = Object.keys(dependencies).map((name) => {
        const folder = join('node_modules', name)
        const { version, license } = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8')) as { version: string; license: string }
        return [`${name} ${version}: ${license}`, licenceText(name, folder)].join('\n\n')
      })
      const own = 'gliomask: Apache-2.0. The model has a licence and an attribution of its own, see model/model.json.'
      this.emitFile({ type: 'asset', fileName: 'licences.txt', source: [own, ...texts].join(`\n\n${'-'.repeat(80)}\n\n`) })
    },
  }
}

export default defineConfig({
  // Relative, so that the application works below any path.
  base: './',
  resolve: { conditions: ['onnxruntime-web-use-extern-wasm', ...defaultClientConditions] },
  worker: { format: 'es', rollupOptions: { output: { entryFileNames: 'assets/[name]-[hash].js' } } },
  plugins: [compressWasm(), licences()],
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
  test: { include: ['test/**/*.test.ts'], testTimeout: 120_000 },
} as Parameters<typeof defineConfig>[0])
