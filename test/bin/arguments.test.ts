import t from 'tap'
import { type Arguments, parseArguments } from '../../bin/arguments.js'

/** Command lines, the verb that they mean, and the texts of its flags. */
const READ: [line: string[], verb: string, values: Record<string, string[]>][] = [
  [[], 'registry', {}],
  [['--dir', 'list'], 'registry', { dir: ['list'] }],
  [['proxy', '--port', '80', '--role', 'a@1.x'], 'proxy', { port: ['80'], role: ['a@1.x'] }],
  [['proxy', '-p', '80', '-r', 'a'], 'proxy', { port: ['80'], role: ['a'] }],
  [['proxy', '-p80', '-r=a@>=1'], 'proxy', { port: ['80'], role: ['a@>=1'] }],
  [['proxy', '--p', '80'], 'proxy', { port: ['80'] }],
  [['proxy', '--role=a@>=1.0.0'], 'proxy', { role: ['a@>=1.0.0'] }],
  [['proxy', '-p', '-1'], 'proxy', { port: ['-1'] }],
  [['proxy', '-p', '-r', 'a'], 'proxy', { port: [''], role: ['a'] }],
  [['proxy', '--port='], 'proxy', { port: [''] }],
  [['proxy', '-p', '1', '-p', '2'], 'proxy', { port: ['1', '2'] }],
  [['--dir', 'x', 'proxy', '-p', '80'], 'proxy', { dir: ['x'], port: ['80'] }],
  [['--dir', 'list', 'list'], 'list', { dir: ['list'] }],
  [['--verbose', 'list', 'a'], 'list', { verbose: ['true'], role: ['a'] }],
  [['list', '--json', 'a'], 'list', { json: ['true'], role: ['a'] }],
  [['list', '--json', 'false', 'a'], 'list', { json: ['false'], role: ['a'] }],
  [['list', '--json=true'], 'list', { json: ['true'] }],
  [['list', 'a', '-r', 'b'], 'list', { role: ['b', 'a'] }],
  [['import', '-'], 'import', { file: ['-'] }],
  [['grant', 'ab', '--serve', 'a', '--serve', 'b'], 'grant', { key: ['ab'], serve: ['a', 'b'] }],
  [['seed', '--registry-seed', 'ab'], 'seed', { registrySeed: ['ab'] }],
  [['web', '--no-dashboard', '--tls-cert=a'], 'web', { noDashboard: ['true'], tlsCert: ['a'] }],
  [
    ['service', '-r', 'a', '--', 'node', '--port', '-x', '--', '5'],
    'service',
    { role: ['a'], command: ['node', '--port', '-x', '--', '5'] }
  ]
]

t.test('a command line is a verb, and its flags as texts', async (t) => {
  for (const [line, verb, values] of READ) {
    const { asks, command, ...read } = (await parseArguments(line)) as Arguments & { asks: 'verb' }
    t.same([asks, command?.verb, read], ['verb', verb, { values }], line.join(' '))
  }
})

t.test('help and the version are asked for before anything is checked', async (t) => {
  for (const line of [['--help'], ['-h'], ['help'], ['--port', '80', '-h']]) {
    t.same(await parseArguments(line), { asks: 'help', command: null }, line.join(' '))
  }
  for (const line of [
    ['proxy', '-h'],
    ['help', 'proxy'],
    ['proxy', '--prot', '80', '--help']
  ]) {
    t.match(await parseArguments(line), { asks: 'help', command: { verb: 'proxy' } })
  }
  for (const line of [['--version'], ['proxy', '--version']]) {
    t.same(await parseArguments(line), { asks: 'version' })
  }
})

/** What is refused, and what the error says. */
const REFUSED: [line: string[], text: string | RegExp][] = [
  [['prxy'], "unknown verb prxy, did you mean proxy? Run 'hyperseaport --help'."],
  [['prxy', '--help'], 'unknown verb prxy, did you mean proxy?'],
  [['toString'], 'unknown verb toString.'],
  [['telescope'], "unknown verb telescope. Run 'hyperseaport --help'."],
  [['--prot', '80'], "unknown flag --prot. Run 'hyperseaport registry --help'."],
  [['proxy', '--prot', '80'], 'unknown flag --prot, did you mean --port?'],
  [['proxy', '--constructor'], 'unknown flag --constructor.'],
  [['seed', '--port', '80'], 'unknown flag --port, it belongs to service, proxy, web'],
  [['proxy', '-z'], 'unknown flag -z'],
  [['--versoin'], 'unknown flag --versoin, did you mean --version?'],
  [['service', '--command', 'x'], 'unknown flag --command'],
  [['seed', 'twice'], 'unexpected argument "twice"'],
  [['list', 'couchdb', 'redis'], 'unexpected argument "redis"'],
  [['list', '--json=maybe'], '--json takes no value, only =true or =false, not "maybe"'],
  [['list', '--', 'x'], 'list takes nothing after --'],
  [['service', '--'], 'there is no command after --']
]

t.test('what there is none of is refused, with the nearest there is', async (t) => {
  for (const [line, text] of REFUSED) {
    const error = await parseArguments(line).catch((error) => error)
    t.match(error, { code: 'USAGE', text }, line.join(' '))
  }
})
