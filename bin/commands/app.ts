import { SeaportError } from '../../lib/identity.js'
import type { AppStatus, Apps } from '../../lib/index.js'
import { printable, printableJson } from '../../lib/printing.js'
import { ADMIN_FLAGS } from '../administration.js'
import type { Command } from '../command.js'
import { openApps } from '../deploying.js'
import type { Lifetime } from '../lifetime.js'
import { printData } from '../output.js'
import type { Settings } from '../settings.js'
import { table } from '../table.js'
import { say } from '../talk.js'

const ACTIONS =
  'create build push run start stop restart update scale remove list status history rollback logs help version'
const COLUMNS = ['INSTANCE', 'HOST', 'IMAGE', 'CREATED', 'STATUS', 'LATENCY']
/** For how long nothing may change until a command stops waiting: more than an instance has by default until it passes. */
const WAIT_MS = 180_000
const POLL_MS = 1000
const SKELETON = {
  'hyperseaport.app.json': (name: string) =>
    `${JSON.stringify({ name, version: '1.0.0', command: ['node', 'server.js'], hostnames: [`${name}.test`], update: { steady: '1s' } }, null, 2)}\n`,
  'server.js': () => `import { createServer } from 'node:http'

// A host says in PORT where to listen.
createServer((request, response) => response.end('Hello, World!\\n')).listen(process.env.PORT, '127.0.0.1')
`,
  'package.json': () => '{ "type": "module" }\n'
}

type Failure = AppStatus['failures'][number]
type Action = (settings: Settings, lifetime: Lifetime) => Promise<void>

/** Commands apps: what dispersed-network's command line did. */
export const app: Command = {
  verb: 'app',
  positional: ['action', 'name', 'value'],
  describe: 'Create, push, run, update, scale and remove apps on the hosts of a registry',
  flags: {
    action: {
      describe: `One of ${ACTIONS.replaceAll(' ', ', ')}`,
      needed: `what to do: ${ACTIONS}`,
      commandLineOnly: true
    },
    name: { describe: 'The app', otherwise: 'that of the folder', commandLineOnly: true },
    value: {
      describe: 'How many instances (scale), or which version (rollback)',
      commandLineOnly: true
    },
    folder: {
      describe: 'The folder of the app',
      otherwise: 'the working folder',
      commandLineOnly: true
    },
    follow: {
      alias: 'f',
      kind: 'switch',
      describe: 'Go on with new lines (logs)',
      commandLineOnly: true
    },
    lines: {
      alias: 'n',
      describe: 'How many lines of each instance (logs)',
      otherwise: '100',
      commandLineOnly: true
    },
    noWait: { kind: 'switch', describe: 'Do not wait until it runs', commandLineOnly: true },
    ...ADMIN_FLAGS
  },
  examples: [
    ['app create hello', 'Write an app to begin with into the working folder'],
    ['app run --folder hello', 'Push it, and have it run; again for a new version'],
    ['app status hello', 'Where it runs, and how'],
    ['app scale hello 3', 'Three instances; all for one on each host'],
    ['app rollback hello 1.0.0', 'Back to an earlier release'],
    ['app logs hello -f', 'What its instances print']
  ],

  async run(settings, lifetime) {
    const action = settings.text('action')
    if (!Object.hasOwn(RUN, action)) {
      throw SeaportError.USAGE(
        `unknown action ${JSON.stringify(action)}: one of ${ACTIONS.replaceAll(' ', ', ')}`
      )
    }
    await RUN[action]?.(settings, lifetime)
  }
}

/** An action on an app that changes what is wanted of it. */
function changing(
  act: (apps: Apps, name: string, settings: Settings) => Promise<unknown>,
  done: string
): Action {
  return async (settings, lifetime) => {
    const name = await nameOf(settings)
    const apps = await openApps(settings, lifetime)
    await act(apps, name, settings)
    await settle(apps, name, settings, done)
  }
}

const RUN: Record<string, Action> = {
  async create(settings) {
    const name = settings.text('name', 'hello-world')
    const { mkdir, writeFile } = await import('node:fs/promises')
    const { join } = await import('node:path')
    const folder = settings.path('folder', process.cwd())
    await mkdir(folder, { recursive: true })
    for (const [file, content] of Object.entries(SKELETON)) {
      await writeFile(join(folder, file), content(name), { flag: 'wx' }).catch((cause) => {
        if (cause.code === 'EEXIST') return say(`${file} is there already, and stays as it is`)
        throw SeaportError.STORAGE_FAILED(`${file} cannot be written (${cause.code})`, cause)
      })
    }
    console.log(`created ${name} in ${folder}; next: hyperseaport app run`)
  },
  async build() {
    throw SeaportError.USAGE(
      "the command in build of the app file is run by 'app push' and 'app run'"
    )
  },
  async push(settings, lifetime) {
    const apps = await openApps(settings, lifetime)
    const { file, hash, hosts } = await apps.push(folderOf(settings), say)
    const names = hosts.map(({ name }) => name)
    if (settings.on('json'))
      return console.log(JSON.stringify({ app: file.name, release: hash, hosts: names }))
    console.log(`pushed ${file.name}@${file.version} ${hash} to ${names.join(', ')}`)
  },
  async run(settings, lifetime) {
    const apps = await openApps(settings, lifetime)
    const { app } = await apps.run(folderOf(settings), say)
    await settle(apps, app, settings, 'running')
  },
  start: changing((apps, name) => apps.start(name), 'running'),
  stop: changing((apps, name) => apps.stop(name), 'stopped'),
  restart: changing((apps, name) => apps.restart(name), 'restarted'),
  scale: changing((apps, name, settings) => {
    const value = settings.text('value')
    return apps.scale(name, value === 'all' ? 'all' : Number(value))
  }, 'scaled'),
  async update(settings, lifetime) {
    await RUN.run?.(settings, lifetime)
  },
  async remove(settings, lifetime) {
    const name = await nameOf(settings)
    const apps = await openApps(settings, lifetime)
    await apps.remove(name)
    console.log(
      settings.on('json') ? JSON.stringify({ app: name, state: 'removed' }) : `removed ${name}`
    )
  },
  rollback: changing(
    (apps, name, settings) => apps.rollback(name, settings.text('value', undefined)),
    'running'
  ),
  async list(settings, lifetime) {
    const apps = (await openApps(settings, lifetime)).list()
    if (settings.on('json')) return console.log(printableJson(apps, 2))
    if (apps.length === 0) return say('there are no apps yet: hyperseaport app create')
    const rows = apps.map(({ app, version, state, instances, hostnames }) => [
      ...[app, version, state, `${instances}`],
      Object.keys(hostnames).join(' ') || '-'
    ])
    console.log(table([['APP', 'VERSION', 'STATE', 'INSTANCES', 'HOSTNAMES'], ...rows]))
  },
  async status(settings, lifetime) {
    const apps = await openApps(settings, lifetime)
    const name = settings.text('name', undefined)
    const names = name === undefined ? apps.list().map(({ app }) => app) : [name]
    const all = await Promise.all(names.map((one) => apps.status(one)))
    if (settings.on('json')) return console.log(printableJson(all, 2))
    for (const status of all) console.log(textOf(status))
  },
  async history(settings, lifetime) {
    const name = await nameOf(settings)
    const releases = (await openApps(settings, lifetime)).history(name)
    if (settings.on('json')) return console.log(printableJson(releases, 2))
    const rows = releases.map(({ version, release, ...rest }, i) => [
      version,
      release,
      i === 0 ? 'wanted' : 'kept',
      rest.isComplete ? 'complete' : rest.hasFailed ? 'failed' : '-',
      rest.isComplete ? '-' : printable(rest.failures[0]?.why.split('\n')[0] ?? '-')
    ])
    console.log(table([['VERSION', 'RELEASE', 'STATE', 'OUTCOME', 'WHY'], ...rows]))
  },
  async logs(settings, lifetime) {
    const name = await nameOf(settings)
    const apps = await openApps(settings, lifetime)
    const options = { lines: settings.count('lines', 100), follow: settings.on('follow') }
    for await (const { hostName, slot, lines } of apps.logs(name, options)) {
      for (const line of lines) {
        const shown = printable(line)
        await printData(
          settings.on('json')
            ? JSON.stringify({ host: hostName, instance: slot, line: shown })
            : `${hostName}/${slot} ${shown}`
        )
      }
    }
  },
  async help() {
    say('hyperseaport app --help')
  },
  async version() {
    const { readFileSync } = await import('node:fs')
    const manifest = new URL('../../../package.json', import.meta.url)
    console.log(JSON.parse(readFileSync(manifest, 'utf8')).version)
  }
}

/**
 * Shows what happens where, until it is as it is wanted, or all have gone back. Whoever stops the watching stops nothing
 * else.
 */
async function settle(apps: Apps, name: string, settings: Settings, done: string) {
  const json = settings.on('json')
  let end = performance.now() + WAIT_MS
  const shown = new Set<string>()
  const tell = (text: string) => {
    if (shown.has(text)) return
    if (!json) say(text)
    shown.add(text)
    end = performance.now() + WAIT_MS
  }
  for (;;) {
    const status = await apps.status(name)
    const { passing, wanted, instances, statement, current, failures } = status
    const others = instances.filter(
      ({ hash, state }) => hash !== current.release || state === 'ending'
    )
    const isAtRest = passing >= wanted && others.length === 0 && instances.length <= wanted
    const text = `${name}@${current.version}: ${passing} of ${wanted} pass${others.length > 0 ? `, ${others.length} to end` : ''}`
    for (const one of failures) tell(failureOf(statement, one))
    tell(text)
    if (status.hasFailed && (isAtRest || current.release === statement.release)) {
      throw SeaportError.CHECK_FAILED(verdictOf(status))
    }
    if (isAtRest || settings.on('noWait')) {
      if (json) return console.log(printableJson(status, 2))
      return console.log(`${done} ${name}@${statement.version}`)
    }
    if (performance.now() > end) {
      const reasons = instances.flatMap(({ hostName, reason }) =>
        reason ? [`${hostName}: ${reason}`] : []
      )
      const why = [
        ...reasons,
        ...Object.entries(status.refusals).map(([host, text]) => `${host}: ${text}`)
      ]
      throw SeaportError.CHECK_FAILED(
        `${text}; what ran before goes on. ${why.join('; ') || 'No host said why'}. 'hyperseaport app status ${name}' shows how it goes on`
      )
    }
    await changed(apps)
  }
}

function failureOf({ app, version }: AppStatus['statement'], { hostName, why }: Failure): string {
  return `${app}@${version} failed on ${hostName}: ${printable(why.replaceAll('\n', '; '))}`
}

/** What became of a release that was given up. */
function verdictOf({ statement, current, failures }: AppStatus): string {
  const reasons = failures.map((one) => failureOf(statement, one)).join('. ')
  return current.release === statement.release
    ? `${reasons}. There is no release before it to go back to, so it is tried on`
    : `${reasons}. All went back to ${statement.app}@${current.version}`
}

/** Until something may have changed, or a second has passed. */
function changed(apps: Apps): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(done, POLL_MS)
    const stop = apps.watch(done)
    function done() {
      clearTimeout(timer)
      stop()
      resolve()
    }
  })
}

function textOf(status: AppStatus): string {
  const { statement, instances, passing, wanted, silent, refusals, failures } = status
  const { app, version, state } = statement
  const rows = instances.map((one) => [
    `${one.app}/${one.slot}`,
    one.hostName,
    `${one.app}@${one.version}`,
    new Date(one.createdAt).toISOString(),
    one.state,
    one.latency === null ? '-' : `${one.latency.toFixed(1)} ms`
  ])
  const reasons = instances.flatMap(({ hostName, slot, reason }) =>
    reason ? [`${hostName}/${slot}: ${printable(reason)}`] : []
  )
  const missing =
    passing < wanted ? Object.entries(refusals).map(([host, why]) => `${host}: ${why}`) : []
  return [
    `${app}@${version} ${state}: ${passing} of ${wanted} pass`,
    ...failures.map((one) => failureOf(statement, one)),
    ...(status.hasFailed ? [`running instead: ${app}@${status.current.version}`] : []),
    ...(rows.length > 0 ? [table([COLUMNS, ...rows])] : []),
    ...reasons,
    ...missing,
    ...(silent.length > 0 ? [`no answer: ${silent.join(', ')}`] : [])
  ].join('\n')
}

function folderOf(settings: Settings): string {
  return settings.path('folder', process.cwd())
}

async function nameOf(settings: Settings): Promise<string> {
  const name = settings.text('name', undefined)
  if (name !== undefined) return name
  const { readAppFile } = await import('../../lib/apps.js')
  return (await readAppFile(folderOf(settings))).name
}
