import { readdir, readFile } from 'node:fs/promises'
import t from 'tap'

const ROOT = new URL('../../', import.meta.url)
/** A file of tests, and the names of some of them; an ellipsis stands for the rest of a name. */
const CITATION = /`(test\/[\w/.-]+\.test\.ts)`((?:,?\s+"[^"]+")*)/g
const NAME = /"([^"…]+)…?"/g
const FILE = /`((?:[\w-]+\/)*[\w-]+\.ts)`/g

t.test('what the threat model cites is there', async (t) => {
  const page = await readFile(new URL('docs/threat-model.md', ROOT), 'utf8')
  let cited = 0
  for (const [, file = '', names = ''] of page.matchAll(CITATION)) {
    const tests = (await readFile(new URL(file, ROOT), 'utf8')).replaceAll(/\s+/g, ' ')
    for (const [, name = ''] of names.replaceAll(/\s+/g, ' ').matchAll(NAME)) {
      t.ok(tests.includes(name.trim()), `${file} has "${name}"`)
      cited++
    }
  }
  t.ok(cited > 40, `${cited} tests`)
  const sources = (
    await Promise.all(
      ['bin', 'lib', 'test'].map(async (folder) => {
        const files = await readdir(new URL(folder, ROOT), { recursive: true })
        return files.map((file) => `/${folder}/${file}`)
      })
    )
  ).flat()
  for (const [, file = ''] of page.matchAll(FILE)) {
    t.ok(
      sources.some((source) => source.endsWith(`/${file}`)),
      file
    )
  }
})

t.test('every row of the threat model names a test', async (t) => {
  const page = await readFile(new URL('docs/threat-model.md', ROOT), 'utf8')
  const tables = page.match(/(?:^\|.*\|\n)+/gm)?.map((table) => table.trim().split('\n')) ?? []
  const tested = tables.filter(([head = '']) => head.includes('tested by'))
  t.equal(tested.length, 11)
  for (const [, , ...rows] of tested) {
    for (const row of rows) t.match(row, /\| [^|]*`test\/[^|]*" \|$/, row.slice(0, 60))
  }
})
