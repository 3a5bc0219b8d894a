import { join } from 'node:path'
import t from 'tap'
import { HOUSE } from './pages.js'

const {
  makePages,
  stalePages
}: { makePages: () => Map<string, string>; stalePages: (made: Map<string, string>) => string[] } =
  await import(join(HOUSE, 'scripts/api-reference.mjs'))

/** Made once: the compiler reads all of the code for it. */
const pages = makePages()

t.test('the pages of the API are what the code says', (t) => {
  t.same(stalePages(pages), [], 'npm run docs:api writes them')
  t.end()
})

t.test('each face has a page with its verbs, options and events', (t) => {
  for (const face of ['registry', 'service', 'consumer', 'web', 'admin', 'bootstrap-node']) {
    const page = pages.get(`${face}.md`) ?? ''
    for (const heading of ['### setup', '### destroy', '| event |'])
      t.ok(page.includes(heading), face)
    t.match(page, /Options$/m, face)
    const [, own = ''] = page.split(/^## /m)
    t.notMatch(own, /### (ready|close|emit|_\w+)$/m, 'and nothing else')
  }
  t.match(pages.get('errors.md'), /\| `NO_INSTANCE` \| Nobody serves/)
  t.end()
})
