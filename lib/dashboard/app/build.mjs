/** Puts the dashboard's files where the compiler puts lib/dashboard/pages.js's neighbours, and the client of pages beside its own. */
import { copyFile, mkdir } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { build } from 'esbuild'

const here = (name) => fileURLToPath(new URL(name, import.meta.url))
const there = (name) =>
  fileURLToPath(new URL(`../../../dist/lib/dashboard/app/${name}`, import.meta.url))

await mkdir(there(''), { recursive: true })
await build({
  entryPoints: [
    { in: here('app.tsx'), out: 'app' },
    { in: here('app.css'), out: 'app' }
  ],
  outdir: there(''),
  bundle: true,
  minify: true,
  format: 'esm',
  target: 'es2022',
  jsx: 'automatic',
  jsxImportSource: 'preact',
  legalComments: 'inline',
  logLevel: 'warning'
})
await build({
  entryPoints: [fileURLToPath(new URL('../../client/client.ts', import.meta.url))],
  outfile: fileURLToPath(new URL('../../../dist/lib/client/browser.js', import.meta.url)),
  bundle: true,
  minify: true,
  format: 'esm',
  target: 'es2022',
  logLevel: 'warning'
})
for (const name of ['index.html', 'icon.svg']) await copyFile(here(name), there(name))
