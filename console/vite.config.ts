import { join } from 'node:path';
import { defineConfig } from 'vite';

/** `npm run dev` in console/ sends requests of the API there. */
const api = process.env.ROWHOOK_API ?? 'http://127.0.0.1:8080';

export default defineConfig({
  logLevel: 'warn',
  base: '/console/',
  root: import.meta.dirname,
  // The client of this checkout, not of what was built last.
  resolve: { alias: { 'rowhook/client': join(import.meta.dirname, '../src/client/client.ts') } },
  build: {
    emptyOutDir: true,
    target: 'es2022',
    // An inlined file would be a data: URL, which the content security policy refuses.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    reportCompressedSize: false,
    manifest: true,
    rolldownOptions: {
      // "use client" means something to a server that renders. There is none here.
      onwarn: (warning, report) => warning.code === 'MODULE_LEVEL_DIRECTIVE' || report(warning),
    },
  },
  server: { proxy: { '/api': api } },
});
