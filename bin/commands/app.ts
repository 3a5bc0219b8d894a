import { SeaportError } from '../../lib/identity.js'
import type { Apps } from '../../lib/index.js'
import { printable, printableJson } from '../../lib/printing.js'
import { ADMIN_FLAGS } from '../administration.js'
import { printLogs } from '../app-logs.js'
import { settle, settleRemoved, textOf } from '../app-progress.js'
import type { Command } from '../command.js'
import { openApps } from '../deploying.js'
import type { Lifetime } from '../lifetime.js'
import type { Settings } from '../settings.js'
import { table } from '../table.js'
import { say, waitAloud } from '../talk.js'

const ACTIONS =
  'create build push run start stop restart update scale remove list status history rollback logs help version'
const SKELETON = {
  'hyperseaport.app.json': (name: string) =>
    `${JSON.stringify({ name, version: '1.0.0', command: ['node', 'server.js'], hostnames: [`${name}.test`], update: { steady: '1s' } }, null, 2)}\n`,
  'server.js': () => `import { createServer } from 'node:http'

// A host says in PORT where to listen.
createServer((request, response) => response.end('Hello, World!\\n')).listen(process.env.PORT, '127.0.0.1')
`,
  'package.json': () => '{ "type": "module" }\n'
}

type Action = (settings: Settings, lifetime: Lifetime) => Promise<void>

/** Commands apps: what dispersed-network's command line did. */
export const app: Command = {
  verb: 'app',
  positional: ['action', 'name', 'value'],
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
    since: {
      describe: 'No lines from before, as in 10m or 2026-01-31T12:00Z (logs)',
      otherwise: 'the last lines',
      commandLineOnly: true
    },
    instance: {
      describe: 'Lines of this instance alone: HOST/NUMBER, or its number on each host (logs)',
      otherwise: 'all',
      commandLineOnly: true
    },
    watch: {
      kind: 'switch',
      describe: 'Go on, and update after each change in the folder (update)',
      commandLineOnly: true
    },
    noWait: { kind: 'switch', describe: 'Do not wait until it runs', commandLineOnly: true },
    ...ADMIN_FLAGS
  },
  examples: [
    ['app create hello', 'Write an app to begin with into the working folder'],
    ['app run --folder hello', 'Push it, and have it run; again for a new version'],
    ['app update --folder hello --watch', 'Update it after each change in its folder'],
    ['app status hello', 'Where it runs, and how'],
    ['app scale hello 3', 'Three instances; all for one on each host'],
    ['app rollback hello 1.0.0', 'Back to an earlier release'],
    ['app logs hello -f', 'What its instances print, and go on to print'],
    ['app logs hello --since 10m --instance attic/0', 'What one of them has printed lately']
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
    await reached(apps)
    await act(apps, name, settings)
    await settle(apps, lifetime, name, settings, done)
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
    console.log(
      settings.on('json')
        ? JSON.stringify({ app: name, folder })
        : `created ${name} in ${folder}; next: hyperseaport app run`
    )
  },
  async build(settings) {
    const { buildApp, readAppFile } = await import('../../lib/apps.js')
    const folder = folderOf(settings)
    const file = await readAppFile(folder)
    const hasBuilt = await buildApp(folder, file, say)
    if (!hasBuilt) say('the app file names no command to build it with')
    const { name, version } = file
    console.log(
      settings.on('json')
        ? JSON.stringify({ app: name, version, hasBuilt })
        : `built ${name}@${version}`
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
    await update(apps, lifetime, settings, 'running')
  },
  start: changing((apps, name) => apps.start(name), 'running'),
  stop: changing((apps, name) => apps.stop(name), 'stopped'),
  restart: changing((apps, name) => apps.restart(name), 'restarted'),
  scale: changing((apps, name, settings) => {
    const value = settings.text('value')
    if (value !== 'all' && !/^\d+$/.test(value)) {
      throw SeaportError.USAGE(`how many instances? A number, or all, not ${JSON.stringify(value)}`)
    }
    return apps.scale(name, value === 'all' ? 'all' : Number(value))
  }, 'scaled'),
  async update(settings, lifetime) {
    const apps = await openApps(settings, lifetime)
    const once = () => update(apps, lifetime, settings, 'updated')
    if (!settings.on('watch')) return once()
    const { updateOnChange } = await import('../app-watch.js')
    await updateOnChange(apps, folderOf(settings), lifetime, once)
  },
  async remove(settings, lifetime) {
    const name = await nameOf(settings)
    const apps = await openApps(settings, lifetime)
    await reached(apps)
    await apps.remove(name)
    if (!settings.on('noWait')) await settleRemoved(apps, lifetime, name)
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
    const rows = releases.map((one, i) => [
      one.version,
      one.release,
      one.overruled ? 'overruled' : i === 0 ? 'wanted' : 'kept',
      one.isComplete ? 'complete' : one.hasFailed ? 'failed' : '-',
      printable(whyOf(one))
    ])
    console.log(table([['VERSION', 'RELEASE', 'STATE', 'OUTCOME', 'WHY'], ...rows]))
  },
  async logs(settings, lifetime) {
    const name = await nameOf(settings)
    const apps = await openApps(settings, lifetime)
    await printLogs(apps, name, settings)
  },
  async help() {
    const { helpOf } = await import('../help.js')
    console.log(helpOf(app))
  },
  async version(settings) {
    const { readFileSync } = await import('node:fs')
    const manifest = new URL('../../../package.json', import.meta.url)
    const { version } = JSON.parse(readFileSync(manifest, 'utf8'))
    console.log(settings.on('json') ? JSON.stringify({ version }) : version)
  }
}

function whyOf({ isComplete, failures, overruled }: ReturnType<Apps['history']>[number]): string {
  if (!overruled) return (!isComplete && failures[0]?.why.split('\n')[0]) || '-'
  const { issuer, issuedAt, state, instances, by } = overruled
  return `${said(issuer, issuedAt)}: ${state}, instances ${instances}; overruled by ${said(by.issuer, by.issuedAt)}`
}

function said(issuer: string, time: number): string {
  return `${issuer.slice(0, 8)}… at ${new Date(time).toISOString()}`
}

/** What is wanted is written down by a registrar, so one is waited for. */
function reached(apps: Apps): Promise<void> {
  return waitAloud(
    apps.reached(),
    () => 'no registrar is there, and only they write down what is wanted: still waiting for one'
  )
}

async function update(apps: Apps, lifetime: Lifetime, settings: Settings, done: string) {
  await reached(apps)
  const { app } = await apps.run(folderOf(settings), say)
  await settle(apps, lifetime, app, settings, done)
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
