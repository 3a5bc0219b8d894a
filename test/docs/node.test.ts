import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { islandOf } from '../bin/island.js'
import { blocksOf, HOUSE } from './pages.js'

t.test('the programs of README and guide run', async (t) => {
  const { cli, registryPublicKey } = await islandOf(t)
  // A file of this package imports it by its name, as one of its users does.
  const folder = mkdtempSync(join(HOUSE, 'dist', 'examples-'))
  t.teardown(() => rmSync(folder, { recursive: true }))

  const runs = async (page: string, ending = '') => {
    const lines = blocksOf(page)
      .filter(({ language }) => language === 'js')
      .flatMap(({ lines }) => lines)
      .join('\n')
      .replace('listen(8992,', 'listen(0,')
      .replace('port: 8992', 'port: server.address().port')
    const program = join(folder, `${page.replaceAll('/', '-')}.mjs`)
    const setting = `const registryPublicKey = '${registryPublicKey}'`
    const text = /^const registryPublicKey = .*$/m.test(lines)
      ? lines.replace(/^const registryPublicKey = .*$/m, setting)
      : lines.replace(/^((?:import .*\n)+)/, `$1${setting}\n`)
    writeFileSync(program, `${text}\n${ending}`)
    return cli.run([], { program })
  }

  t.match(await runs('README.md'), { code: 0, stdout: 'Hello, World!\n', stderr: '' })
  const guide = await runs(
    'docs/guide/node.md',
    `request.on('error', () => {})
console.log(byPort.status, byStream.status)
process.exit()
`
  )
  t.match(guide, { code: 0, stderr: '' })
  t.match(guide.stdout, /^NO_INSTANCE: .*\n200 200\n$/)
})
