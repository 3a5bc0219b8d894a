import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import t from 'tap'
import { parseAppFile, parseOldAppFile, readAppFile } from '../../lib/hosting/app-file.js'
import { APP_SCHEMA } from '../../lib/hosting/app-schema.js'
import type { JsonSchema } from '../../lib/hosting/json-schema.js'

const HOUSE = resolve(import.meta.dirname, '../../..')
const SHOP = { name: 'shop', command: ['node', 'shop.js'] }

t.test('a file with a name and a command has a default for everything else', async (t) => {
  t.same(parse(SHOP), {
    name: 'shop',
    version: '1.0.0',
    command: ['node', 'shop.js'],
    port: 0,
    check: 'tcp',
    env: {},
    instances: 1,
    hostnames: [],
    place: { labels: [], memory: 0, cpu: null, single: false },
    build: null,
    setup: null,
    before: null,
    update: { surge: 1, steady: 10_000, deadline: 120_000 },
    logs: { size: 10_000_000, files: 5, keep: 7 * 24 * 3_600_000 },
    uses: [],
    sandbox: false
  })
})

t.test('every field is read', async (t) => {
  const file = parse({
    $schema: './node_modules/hyperseaport/hyperseaport.app.schema.json',
    name: '@team/api',
    version: '2.1.0-rc.1',
    command: 'exec ./api --fast',
    port: 8080,
    check: 'http:/health',
    env: { LOG: 'all' },
    instances: 3,
    hostnames: ['api.example.com', 'api.example.com'],
    place: { labels: { region: 'eu', disk: 'ssd' }, memory: '200MiB', cpu: 0.5 },
    build: 'make',
    setup: ['npm', 'ci'],
    before: 'node migrate.js',
    update: { surge: 2, steady: '1s', deadline: '1m' },
    logs: { size: '1MB', files: 2, keep: '1d' },
    uses: ['db@3.x'],
    sandbox: true
  })
  t.match(file, {
    version: '2.1.0-rc.1',
    command: ['/bin/sh', '-c', 'exec ./api --fast'],
    port: 8080,
    hostnames: ['api.example.com'],
    place: { labels: ['disk=ssd', 'region=eu'], memory: 200 * 2 ** 20, cpu: 0.5 },
    setup: ['npm', 'ci'],
    update: { surge: 2, steady: 1000, deadline: 60_000 },
    logs: { size: 1_000_000, files: 2, keep: 24 * 3_600_000 },
    uses: ['db@3.x']
  })
  t.match(parse({ ...SHOP, instances: 'all' }), { instances: 'all' })
  t.match(parse({ ...SHOP, port: false }), { port: null, check: 'none' })
})

t.test('what is wrong is refused, with what to do', async (t) => {
  const wrong: [fields: object, said: RegExp][] = [
    [{ instanecs: 2 }, /"instanecs" is not a field, did you mean instances\?/],
    [{ place: { lables: {} } }, /"place.lables" is not a field, did you mean labels\?/],
    [{ volumes: {} }, /volumes is not supported yet/],
    [{ secrets: ['KEY'] }, /secrets is not supported yet/],
    [{ image: 'nginx' }, /image is not supported yet/],
    [{ name: 'two words' }, /name must be a name as in shop/],
    [{ version: '1.x' }, /version must be an exact version/],
    [{ version: '1.2.3-01' }, /exact version/],
    [{ port: 65_536 }, /port must be a port/],
    [{ port: 80.5 }, /port must be a port/],
    [{ port: false, check: 'tcp' }, /check needs a port/],
    [{ check: 'udp' }, /check must be tcp, http:\/path or none/],
    [{ command: [] }, /command must be a command line/],
    [{ env: { 'A B': 'x' } }, /env must be/],
    [{ env: { A: 1 } }, /env must be/],
    [{ instances: 0 }, /instances must be a number from 1/],
    [{ instances: 'some' }, /instances must be a number from 1/],
    [{ hostnames: ['*.example.com'] }, /hostnames must be a list/],
    [{ hostnames: Array(17).fill('a') }, /at most 16/],
    [{ place: { memory: '2 GB' } }, /place.memory must be a size/],
    [{ place: { memory: '0' } }, /must be a size/],
    [{ place: { labels: { Region: 'eu' } } }, /place.labels must be/],
    [{ place: { single: true }, instances: 2 }, /place.single needs instances to be 1/],
    [{ update: { surge: 0 } }, /update.surge must be a number from 1 to 100/],
    [{ update: { steady: 'soon' } }, /update.steady must be a time/],
    [{ uses: ['db@3.x.y.z'] }, /semver range/],
    [{ sandbox: 'yes' }, /sandbox must be true or false/]
  ]
  for (const [fields, said] of wrong) {
    const text = JSON.stringify({ ...SHOP, ...fields })
    t.throws(() => parseAppFile(text), { code: 'BAD_CONFIG', message: said }, text)
  }
  t.throws(() => parseAppFile('{'), { code: 'BAD_CONFIG', message: /hyperseaport.app.json: / })
  t.throws(() => parseAppFile('[]'), { message: /it must be an object/ })
  t.throws(() => parseAppFile('null'), { message: /it must be an object/ })
  t.throws(() => parse({ command: ['a'] }), { message: /name is missing/ })
  t.throws(() => parse({ name: 'shop' }), { message: /command is missing/ })
})

t.test('the app file of dispersed-network is read', async (t) => {
  const text = '# mine\n\nAPP_NAME hello-world\r\nAPP_HOSTNAME  Hello-World.test \n'
  const file = parseOldAppFile(text, { files: ['App.config', 'server.js'] })
  t.match(file, {
    name: 'hello-world',
    hostnames: ['hello-world.test'],
    command: ['node', 'server.js'],
    version: '1.0.0'
  })
  const wrong: [text: string, said: RegExp][] = [
    ['APP_NAM x', /"APP_NAM" is not a field, did you mean APP_NAME\?/],
    ['APP_NAME', /APP_NAME has no value/],
    ['APP_HOSTNAME a.test', /0 lines APP_NAME/],
    ['APP_NAME a\nAPP_NAME b', /2 lines APP_NAME/],
    ['APP_NAME a/b/c', /name must be/],
    ['APP_NAME a\nAPP_HOSTNAME a_/b', /hostnames must be/]
  ]
  for (const [text, message] of wrong) {
    t.throws(() => parseOldAppFile(text), { code: 'BAD_CONFIG', message }, text)
  }
})

t.test('a folder has its app file, and its version from package.json', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'hyperseaport-app-'))
  t.teardown(() => rm(folder, { recursive: true }))
  await t.rejects(readAppFile(folder), { code: 'BAD_CONFIG', message: /app create/ })
  await writeFile(join(folder, 'index.js'), '')
  await writeFile(join(folder, 'App.config'), 'APP_NAME old\n')
  t.match(await readAppFile(folder), { name: 'old', command: ['node', 'index.js'] })
  await writeFile(join(folder, 'hyperseaport.app.json'), '{ "name": "new" }')
  await writeFile(join(folder, 'package.json'), '{ "version": "4.5.6" }')
  t.match(await readAppFile(folder), { name: 'new', version: '4.5.6' })
  await writeFile(join(folder, 'package.json'), '{ "version": "latest" ')
  t.match(await readAppFile(folder), { version: '1.0.0' })
  await writeFile(join(folder, 'hyperseaport.app.json'), ' '.repeat(65_537))
  await t.rejects(readAppFile(folder), { message: /longer than 65536/ })
  await t.rejects(readAppFile(join(folder, 'nowhere')), { code: 'BAD_CONFIG' })
})

t.test(
  'the schema in the package is the one that files are held to, and each field says what it is',
  async (t) => {
    const path = join(HOUSE, 'hyperseaport.app.schema.json')
    const text = await readFile(path, 'utf8')
    t.equal(text, `${JSON.stringify(APP_SCHEMA, null, 2)}\n`, 'npm run docs:schema writes it')
    const visit = ({ properties = {} }: JsonSchema, path = '') => {
      for (const [name, schema] of Object.entries(properties)) {
        t.type(schema.title, 'string', `${path}${name} has a title`)
        visit(schema, `${name}.`)
      }
    }
    visit(APP_SCHEMA)
  }
)

function parse(fields: object) {
  return parseAppFile(JSON.stringify(fields))
}
