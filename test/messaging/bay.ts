import type { Test } from 'tap'
import type { SeaportError } from '../../lib/core/errors.js'
import { KeyPair, toHex } from '../../lib/core/keys.js'
import { type Candidate, Dialer } from '../../lib/dialing/dialer.js'
import { Acceptor } from '../../lib/link/acceptor.js'
import { LinkPool } from '../../lib/link/pool.js'
import { type CommandMap, Commands } from '../../lib/messaging/commands.js'
import { Conversations } from '../../lib/messaging/conversations.js'
import type { EventRingOptions } from '../../lib/messaging/event-ring.js'
import { Events } from '../../lib/messaging/events.js'
import { SET_STATE, STATE } from '../../lib/messaging/names.js'
import { Sender, type SenderOptions } from '../../lib/messaging/sender.js'
import { maxFrameFor, SPOKEN, Speaker, type SpeakerOptions } from '../../lib/messaging/speaker.js'
import { State, type StateOptions } from '../../lib/messaging/state/state.js'
import { StateFiles } from '../../lib/registry/log/own-keys.js'
import { type Pair, secretPair } from '../link/pair.js'
import { Testbed } from '../testbed.js'

/** An instance that speaks, with links to it that are in memory. */
export interface Berth {
  key: string
  commands: Commands
  speaker: Speaker
  acceptor: Acceptor
  pairs: Pair[]
  events: Events
  state: State
  notices: SeaportError[]
  candidate: Candidate
}

export interface BayOptions extends Partial<Omit<SenderOptions, 'dialer'>> {
  /** In the order in which the directory has them: a mode that keeps it is used. */
  instances?: Record<string, CommandMap>
  service?: Partial<SpeakerOptions>
  ring?: EventRingOptions
  state?: Partial<StateOptions>
  /** Who dials. Default: another one for each link. */
  caller?: KeyPair
  /** Where states are kept. Default: a folder that goes with the test. */
  dir?: string
}

/** Whose states these are. */
export const SCOPE = { registry: '07'.repeat(32), role: 'agent' }
/** Of the processes in which instances run. */
export const PROCESS_KEY = Buffer.alloc(32, 8)

/** Instances that speak, and who sends them commands. */
export async function bay(
  t: Test,
  {
    instances = {},
    service = {},
    ring = {},
    state: stateOptions = {},
    caller,
    dir,
    ...options
  }: BayOptions
) {
  const testbed = await Testbed.make(t)
  const network = await testbed.network()
  const folder = dir ?? (await testbed.dir())
  const berths = new Map<string, Berth>()
  const names: Record<string, Berth> = {}
  const add = (name: string, map: CommandMap, keyPair = KeyPair()) => {
    const commands = new Commands({ maxBody: service.maxBody, onfirst: () => {} })
    for (const [command, how] of Object.entries(map)) {
      if (typeof how === 'function') commands.handle(command, how)
      else commands.handle(command, how, how.handler)
    }
    const denialOf = service.denialOf ?? (() => null)
    const events = new Events({
      denialOf,
      onnotice: (notice) => berth.notices.push(notice),
      ...ring
    })
    const state = new State({
      scope: SCOPE,
      successors: [],
      writers: [],
      onchange: (change) => events.emitOwn(STATE, change),
      onnotice: (notice) => berth.notices.push(notice),
      ...stateOptions
    })
    commands
      .handleOwn(STATE, (data) => state.read(data))
      .handleOwn(SET_STATE, (data, context) => state.takeWrite(data, context))
    const files = new StateFiles(Buffer.alloc(32), SCOPE.role, keyPair.publicKey, folder)
    const opened = state.open(keyPair, PROCESS_KEY, files)
    t.teardown(async () => {
      await opened
      await state.close()
    })
    const acceptor = new Acceptor({ dht: network.dht, keyPair })
    const key = toHex(acceptor.publicKey)
    const berth: Berth = {
      key,
      commands,
      acceptor,
      pairs: [],
      events,
      state,
      notices: [],
      speaker: new Speaker({
        commands,
        denialOf: () => null,
        events,
        onnotice: (notice) => berth.notices.push(notice),
        ...service
      }),
      candidate: { role: 'agent', version: '1.0.0', servicePublicKey: key, speaks: SPOKEN }
    }
    berth.speaker.listen(acceptor)
    acceptor.on('draining', () => berth.speaker.leave())
    t.teardown(() => {
      for (const { responder } of berth.pairs) responder.destroy()
      berth.speaker.close()
    })
    berths.set(key, berth)
    names[name] = berth
    return berth
  }
  for (const [name, map] of Object.entries(instances)) add(name, map)

  const pool = new LinkPool({
    connect: (key) => {
      const pair = secretPair(t, caller ?? KeyPair())
      const berth = berths.get(toHex(key))
      // As a DHT's server does: once it is known who calls.
      pair.responder.once('connect', () => {
        if (berth && !berth.acceptor.closing) berth.acceptor.take(pair.responder, 'dht')
        else pair.responder.destroy()
      })
      berth?.pairs.push(pair)
      return pair.initiator
    }
  })
  t.teardown(() => pool.close())
  const conversations = new Conversations({ pool, maxFrame: maxFrameFor(options.maxBody) })
  t.teardown(() => conversations.close())
  const candidates = () => [...berths.values()].map(({ candidate }) => candidate)
  const dialer = new Dialer({
    role: 'agent@1.x',
    pool,
    mode: 'first',
    resolve: candidates
  })
  const sender = new Sender({ dialer, conversations, ...options })
  const of = (name: string) => names[name] as Berth
  return {
    sender,
    dialer,
    pool,
    conversations,
    candidates,
    of,
    add,
    remove: (key: string) => berths.delete(key)
  }
}

/** A promise, and who fulfils it. */
export function deferred<T = void>() {
  let resolve: (value: T) => void = () => {}
  const promise = new Promise<T>((done) => {
    resolve = done
  })
  return { promise, resolve }
}
