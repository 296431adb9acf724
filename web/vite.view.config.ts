import { defineConfig } from 'vite'

import { licencesAtHead, WITHOUT_CODECS } from './bundle'

/** The page of `gliomask view`: one script and one style sheet, so that both fit into a single HTML file. */
export default defineConfig({
  base: './',
  publicDir: false,
  resolve: { alias: WITHOUT_CODECS },
  plugins: [licencesAtHead()],
  build: {
    outDir: '../src/gliomask/view/built',
    emptyOutDir: true,
    target: 'es2022',
    assetsInlineLimit: Number.MAX_SAFE_INTEGER,
    cssCodeSplit: false,
    modulePreload: false,
    rollupOptions: {
      input: 'src/view/main.ts',
      output: { inlineDynamicImports: true, entryFileNames: 'view.js', assetFileNames: 'view.[ext]' },
    },
  },
})
