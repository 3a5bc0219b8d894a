import t from 'tap'
import { textOf } from './pages.js'

/** That they are what the code says, `npm run check:docs` holds: the compiler reads all of the code for it. */

t.test('each face has a page with its verbs, options and events', (t) => {
  for (const face of ['registry', 'service', 'consumer', 'web', 'admin', 'bootstrap-node']) {
    const page = textOf(`docs/reference/api/${face}.md`)
    for (const heading of ['### setup', '### destroy', '| event |'])
      t.ok(page.includes(heading), face)
    t.match(page, /Options$/m, face)
    const [, own = ''] = page.split(/^## /m)
    t.notMatch(own, /### (ready|close|emit|_\w+)$/m, 'and nothing else')
  }
  t.match(textOf('docs/reference/api/errors.md'), /\| `NO_INSTANCE` \| Nobody serves/)
  t.end()
})
