import { join } from 'node:path'
import t from 'tap'
import { HOUSE, textOf } from './pages.js'

const { makePage }: { makePage: () => Promise<string> } = await import(
  join(HOUSE, 'scripts/cli-reference.mjs')
)

t.test('the page of verbs and flags is what the code says', async (t) => {
  t.equal(textOf('docs/reference/cli.md'), await makePage(), 'npm run docs:cli writes it')
})
