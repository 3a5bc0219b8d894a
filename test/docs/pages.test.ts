import { existsSync, readdirSync, statSync } from 'node:fs'
import { dirname, join, normalize } from 'node:path'
import t from 'tap'
import { SeaportError } from '../../lib/core/errors.js'
import { blocksOf, HOUSE, PAGES, textOf } from './pages.js'

const README_LINES = 150
/** Words that a newcomer needs, and where they have to be told. */
const GLOSSARY = ['registry', 'registrar', 'service', 'consumer', 'replica']
const LINK = /\]\(([^)\s]+)\)/g
const HEADING = /^#{1,6} (.*)$/gm
/** Names that parts of the code had once. */
const OLD_WORDS =
  /\b(lanes?|doorkeeper|passer-by|upkeep|TreeWriter|Lapses|Graces|OwnLog|Authorship)\b|\bedge\/|lane-|(?<!in the )\breception\b/i
const NAME_OF_OTHERS = /npm (install|i)( -g| --global)? hyperseaport(?![-@/.])/

t.test('the README is short, and its five words come before its first command', async (t) => {
  const readme = textOf('README.md')
  t.ok(readme.split('\n').length - 1 <= README_LINES, `${README_LINES} lines at most`)
  const [beforehand = ''] = readme.split('```')
  for (const word of GLOSSARY) t.match(beforehand, new RegExp(`^\\| \\*\\*${word}\\*\\* \\|`, 'm'))
})

t.test('nobody is sent to the package of somebody else that has our name', async (t) => {
  for (const page of [...PAGES, 'examples/one-service-one-consumer/README.md']) {
    t.equal(NAME_OF_OTHERS.exec(textOf(page))?.[0], undefined, page)
  }
})

t.test(
  'each link of the pages leads to a file that is there, and to a heading of it',
  async (t) => {
    for (const page of PAGES) {
      const text = textOf(page).replaceAll(/```.*?```/gs, '')
      for (const [, link = ''] of text.matchAll(LINK)) {
        if (/^https?:/.test(link)) continue
        const [path = '', anchor] = link.split('#')
        const target = path === '' ? page : normalize(join(dirname(page), path))
        if (!existsSync(join(HOUSE, target))) t.fail(`${page}: ${link} leads nowhere`)
        else if (anchor !== undefined && statSync(join(HOUSE, target)).isFile()) {
          t.ok(anchorsOf(target).has(anchor), `${page}: ${link}`)
        }
      }
    }
    t.end()
  }
)

t.test(
  'each error code has its line in the reference and its advice, and no other has',
  async (t) => {
    const codes = Object.getOwnPropertyNames(SeaportError)
      .filter((name) => /^[A-Z][A-Z_]+$/.test(name))
      .sort()
    t.ok(codes.length > 30)
    const advice = [...textOf('docs/guide/troubleshooting.md').matchAll(/^### (.*)$/gm)]
    t.same(advice.map(([, code]) => code).sort(), codes, 'docs/guide/troubleshooting.md')
    const cells = textOf('docs/reference/codes.md').matchAll(
      /^\|(?: \d[^|]*\|)? (`[A-Z][^|]*) \|/gm
    )
    const listed = [...cells].flatMap(([, cell = '']) => cell.match(/[A-Z][A-Z_]+/g) ?? [])
    t.same([...new Set(listed)].sort(), codes, 'docs/reference/codes.md')
  }
)

t.test('what a reader is to look for is printed by the program', async (t) => {
  const sources = ['bin', 'lib/registry'].flatMap((folder) =>
    readdirSync(join(HOUSE, folder), { recursive: true, encoding: 'utf8' })
      .filter((file) => file.endsWith('.ts'))
      .map((file) => textOf(join(folder, file)))
  )
  const page = textOf('docs/guide/troubleshooting.md')
  const [table = ''] = /^\| what is printed or listed (?:.+\n)+/m.exec(page) ?? []
  const shown = [...table.matchAll(/^\|[^|`]*`([^`]+)`/gm)].map(([, text = '']) => text)
  t.ok(shown.length > 5)
  for (const text of shown) {
    const words = text.replace(/ ?…$/, '')
    t.ok(
      sources.some((source) => source.includes(words)),
      text
    )
  }
})

t.test('the pages use the words of the code as it is', async (t) => {
  for (const page of PAGES.filter((page) => page !== 'CHANGELOG.md')) {
    t.equal(OLD_WORDS.exec(textOf(page))?.[0], undefined, page)
  }
})

t.test('each block of the pages says what it is', async (t) => {
  const known = [
    'sh',
    'js',
    'ts',
    'ini',
    'yaml',
    'dockerfile',
    'nginx',
    'apache',
    'caddy',
    'mermaid',
    'text'
  ]
  for (const page of PAGES.filter(
    (page) => page.startsWith('docs/guide/') || page === 'README.md'
  )) {
    for (const { language, place } of blocksOf(page)) t.ok(known.includes(language), place)
  }
})

/** As GitHub makes them of headings. */
function anchorsOf(page: string): Set<string> {
  const headings = textOf(page)
    .replaceAll(/```.*?```/gs, '')
    .matchAll(HEADING)
  return new Set(
    [...headings].map(([, heading = '']) =>
      heading
        .toLowerCase()
        .replaceAll(/[^\p{L}\p{N}\s_-]/gu, '')
        .replaceAll(' ', '-')
    )
  )
}
