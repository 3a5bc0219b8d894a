import { SeaportError } from '../../lib/identity.js'
import type { CopiedEntry, PortlessEntry, StateChange } from '../../lib/index.js'
import { startTimer } from '../../lib/options.js'
import { printableJson } from '../../lib/printing.js'
import type { Command } from '../command.js'
import { JSON_FLAG } from '../flags.js'
import type { Lifetime } from '../lifetime.js'
import { printLatest } from '../output.js'
import { say } from '../talk.js'
import { dataOf, keyOf, ROLE_FLAG, TALKING_FLAGS, talkTo } from '../talking.js'

const ACTIONS = ['get', 'set', 'delete', 'watch'] as const
type Action = (typeof ACTIONS)[number]
const SETUP_TIMEOUT_MS = 10_000

/** Reads, writes and watches the small map that each instance of a service shares. */
export const state: Command = {
  verb: 'state',
  positional: ['action', 'role', 'name', 'value'],
  flags: {
    action: {
      describe: `What to do: ${ACTIONS.join(', ')}`,
      needed: 'what to do, as in state get agent@1.x',
      commandLineOnly: true
    },
    role: ROLE_FLAG,
    name: { describe: 'Name of the entry', otherwise: 'all', commandLineOnly: true },
    value: { describe: 'What it is set to: JSON, @file, or - for stdin', commandLineOnly: true },
    if: {
      describe: 'Write only if the entry has this revision; 0 if there is to be none',
      commandLineOnly: true
    },
    instance: { describe: "This instance's state alone, by its key", commandLineOnly: true },
    timeout: {
      describe: 'How long to wait for an answer, in seconds or as in 500ms',
      otherwise: '10',
      commandLineOnly: true
    },
    json: { ...JSON_FLAG, describe: 'Print JSON: of an entry its owner, term and revision, too' },
    ...TALKING_FLAGS
  },
  examples: [
    ['state get agent@1.x', 'All entries; of several instances that have one, the latest'],
    ['state get agent@1.x mode --json', 'One, with its revision'],
    [`state set agent@1.x mode '"busy"' --if 7`, 'If nobody else has written it since'],
    ['state watch agent@1.x', 'What is there, and then what changes']
  ],

  async run(settings, lifetime) {
    settings.text('action')
    const action = settings.word<Action, Action>('action', ACTIONS, 'get')
    const role = settings.text('role')
    const { parseRoleRange } = await import('../../lib/roles.js')
    parseRoleRange(role)
    const isWrite = action === 'set' || action === 'delete'
    const name = isWrite ? settings.text('name') : settings.text('name', undefined)
    const value = action === 'set' ? await dataOf(settings.text('value'), false) : undefined
    if (action !== 'set' && settings.text('value', undefined) !== undefined) {
      throw SeaportError.USAGE(`state ${action} takes no value`)
    }
    const rev = revisionOf(settings.text('if', undefined))
    const timeout =
      action === 'watch' ? Infinity : (settings.duration('timeout', undefined) ?? SETUP_TIMEOUT_MS)
    const { entries } = await talkTo([role], settings, lifetime, { verb: 'state', timeout })
    const [entry] = entries as [PortlessEntry]
    const given = settings.text('instance', undefined)
    const instance = given === undefined ? undefined : keyOf(entry, given)
    const asked = { action, entry, instance, json: settings.on('json') }
    if (action === 'watch') return watch({ ...asked, name }, lifetime)
    if (action === 'get') return within(timeout, get({ ...asked, name }))
    const options = { instance, timeout, ...(rev !== undefined && { if: rev }) }
    const written =
      action === 'set'
        ? await entry.state.set(name as string, value, options)
        : await entry.state.delete(name as string, options)
    console.log(asked.json ? printableJson({ rev: written }) : `${written}`)
  }
}

function revisionOf(text: string | undefined): number | undefined {
  if (text === undefined) return undefined
  if (/^\d{1,15}$/.test(text)) return Number(text)
  throw SeaportError.USAGE(`--if is a revision, or 0 for none, not ${JSON.stringify(text)}`)
}

interface Asked {
  action: Action
  entry: PortlessEntry
  instance: string | undefined
  name: string | undefined
  json: boolean
}

async function get({ entry, instance, name, json }: Asked) {
  const { state } = entry
  if (name === undefined) {
    const all = await state.entries({ instance })
    if (json) console.log(printableJson(all, 2))
    else for (const one of all) console.log(lineOf(one))
    return
  }
  const found = await state.entry(name, { instance })
  if (!found) throw SeaportError.NOT_FOUND(`no instance of ${entry} has an entry ${name}`)
  console.log(json ? printableJson(found, 2) : printableJson(found.value))
}

async function watch({ entry, instance, name, json }: Asked, lifetime: Lifetime) {
  const { state } = entry
  state.on('change', (change: StateChange) => {
    if (name !== undefined && name !== change.name) return
    if (instance !== undefined && instance !== change.owner) return
    const { name: changed, owner, deleted } = change
    const text = deleted ? `${changed} deleted` : lineOf(change)
    printLatest(`${owner} ${changed}`, json ? printableJson(change) : text)
  })
  await Promise.race([state.ready(), lifetime.untilStopped()])
  say(`watching the state of ${entry}`)
  await lifetime.untilStopped()
}

function lineOf({ name, value }: CopiedEntry): string {
  return `${name} ${printableJson(value)}`
}

async function within(timeout: number, act: Promise<void>) {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_resolve, reject) => {
    const error = SeaportError.DEADLINE(`no instance told its state within ${timeout} ms`)
    timer = startTimer(() => reject(error), timeout)
  })
  await Promise.race([act, late]).finally(() => clearTimeout(timer))
}
