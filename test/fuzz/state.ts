import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Test } from 'tap'
import { SeaportError } from '../../lib/core/errors.js'
import { KeyPair, toHex } from '../../lib/core/keys.js'
import { decodeBody, encodeBody } from '../../lib/messaging/body.js'
import { ANSWER, CALL, encodeFrame, HELLO } from '../../lib/messaging/frames.js'
import { StateCopy } from '../../lib/messaging/state/copy.js'
import { HandOver } from '../../lib/messaging/state/hand-over.js'
import { Journal } from '../../lib/messaging/state/journal.js'
import { State } from '../../lib/messaging/state/state.js'
import {
  type Head,
  type SignedEntry,
  signClaim,
  signHead
} from '../../lib/messaging/state/statements.js'
import { readStored } from '../../lib/messaging/state/stored.js'
import { TakeOver } from '../../lib/messaging/state/take-over.js'
import { settled } from './line.js'
import type { Target } from './mutants.js'
import { feed, stream } from './stream.js'

const scope = { registry: '01'.repeat(32), role: 'agent' }
const peer = '02'.repeat(32)

/** A state that was written a few times, with what it was after each. */
async function written(t: Test) {
  const dir = t.testdir({ 'a.journal': '', 'b.journal': '' })
  const keyPair = KeyPair('03'.repeat(32))
  const changes: Buffer[] = []
  const make = (name: string, onchange: (text: string) => void) => {
    const state = new State({
      scope,
      successors: ['serve', '04'.repeat(32)],
      writers: [peer],
      onchange: ({ text }) => onchange(text),
      onnotice: () => {}
    })
    const path = join(dir, `${name}.journal`)
    t.teardown(() => state.close())
    const opened = state.open(keyPair, Buffer.alloc(32, 5), {
      exists: () => true,
      take: async () => ({ path, release() {} })
    })
    return { state, path, opened }
  }
  const { state, path, opened } = make('a', (text) => changes.push(Buffer.from(text)))
  await opened
  const versions = new Map([[0, '']])
  const note = () => versions.set(state.head?.rev ?? 0, contentOf(state.entries()))
  await state.set('mode', 'busy')
  note()
  await state.set('jobs', { n: [1, null] })
  note()
  const snapshot = encodeBody(await state.read(null)).bytes
  await state.set('mode', 2)
  note()
  await state.delete('jobs')
  note()
  const { state: other, opened: otherOpened } = make('b', () => {})
  await otherOpened
  return { dir, path, keyPair, changes, snapshot, versions, state, other }
}

function contentOf(entries: readonly { name: string; rev: number; value: unknown }[]): string {
  return entries.map(({ name, rev, value }) => JSON.stringify([name, rev, value])).join()
}

function signedContentOf(entries: Iterable<SignedEntry>): string {
  return contentOf([...entries].map((one) => ({ ...one, value: JSON.parse(String(one.json)) })))
}

function read(bytes: Buffer | undefined): unknown {
  return decodeBody({ kind: 'json', bytes: bytes ?? Buffer.alloc(0) })
}

/** An answer to a newcomer, as a frame. */
function answer(id: number, bytes: Buffer): Buffer {
  return encodeFrame({ type: ANSWER, id, body: { kind: 'json', bytes } })
}

/** What a newcomer asks, as a frame. */
function ask(id: number, name: string, data: unknown): Buffer {
  const call = { type: CALL, id, timeLeft: 1000, isStreaming: false, meta: {} } as const
  return encodeFrame({ ...call, name, body: encodeBody(data) })
}

/** A session of who takes over, and one of who says that it has done so; both of a key that nobody named. */
function askedBy(stranger: KeyPair, former: Head): Buffer[] {
  const key = toHex(stranger.publicKey)
  const claim = signClaim(scope, { key, from: former.owner }, stranger)
  const { rev, hash } = former
  const head = signHead(scope, { term: former.term + 1, rev, hash, successors: [] }, stranger)
  return [
    encodeFrame({ type: HELLO, version: 1 }),
    ask(1, 'takeover', { claim, version: '2.0.0' }),
    ask(2, 'ready', { rev }),
    ask(3, 'taken', {}),
    ask(4, 'yield', { version: '2.0.0', head, succession: { former, claim } })
  ]
}

export async function stateTargets(t: Test): Promise<Record<string, Target>> {
  const { dir, path, keyPair, changes, snapshot, versions, state, other } = await written(t)
  const isTrue = (rev: number | undefined, content: string) => versions.get(rev ?? 0) === content
  let mutants = 0
  const stranger = KeyPair('06'.repeat(32))
  const newcomer = KeyPair('04'.repeat(32))
  const owner = toHex(keyPair.publicKey)
  const over = signClaim(scope, { key: toHex(newcomer.publicKey), from: owner }, keyPair)
  const rev = state.head?.rev ?? 0
  const last = encodeBody(await state.read(null)).bytes
  const rest = Buffer.from(state.changesSince(rev, over).text)
  return {
    'a stranger who wants a state': {
      valid: askedBy(stranger, state.head as Head),
      async read(pieces) {
        const moved: string[] = []
        const handOver = new HandOver({
          scope,
          state,
          keyPair,
          mayServe: () => false,
          isRegistered: () => null,
          onmoved: (key) => moved.push(key),
          onnotice: () => {}
        })
        const heard = stream()
        handOver.take(heard, stranger.publicKey)
        try {
          await feed(heard, pieces)
        } finally {
          handOver.close()
          heard.destroy()
        }
        return moved
      },
      mayAccept: (moved) => (moved as string[]).length === 0
    },
    'a state as it is handed over': {
      valid: [encodeFrame({ type: HELLO, version: 1 }), answer(1, last), answer(2, rest)],
      async read(pieces) {
        const heard = stream()
        const streams = [heard]
        const takeOver = new TakeOver(owner, {
          scope,
          version: '2.0.0',
          keyPair: newcomer,
          processKeyPair: newcomer,
          open: async () => {
            const next = streams.pop()
            if (next) return next
            throw SeaportError.LINK_LOST('there was one')
          }
        })
        const begun = takeOver.begin()
        // What it was fed with is over, whatever came of it.
        const fed = settled().then(() => feed(heard, pieces).catch(() => {}))
        void fed.then(settled).then(() => heard.destroy())
        const heritage = await begun
        if (heritage === 'lost') throw SeaportError.LINK_LOST('it broke off')
        if (heritage && !isTrue(heritage.head.rev, signedContentOf(heritage.entries))) {
          throw new Error('what was handed over was never signed')
        }
      }
    },
    'a state as it is copied': {
      valid: [snapshot, ...changes.slice(2)],
      async read([first, ...rest]) {
        const copy = new StateCopy(scope, owner)
        const refusals: unknown[] = []
        await copy.takeSnapshot(read(first)).catch((error) => refusals.push(error))
        for (const change of rest) {
          try {
            copy.takeChange(read(change))
          } catch (error) {
            refusals.push(error)
          }
        }
        if (!isTrue(copy.head?.rev, signedContentOf(copy.entries()))) {
          throw new Error('a copy of what was never signed')
        }
        if (refusals.length > 0) throw refusals[0]
      }
    },
    'a journal of a state': {
      valid: [await readFile(path)],
      isSlow: true,
      async read([bytes = Buffer.alloc(0)]) {
        const mutant = join(dir, `mutant-${mutants++}.journal`)
        await writeFile(mutant, bytes)
        const { journal, lines } = await Journal.open({ path: mutant, release() {} })
        try {
          const stored = readStored(lines, scope)
          if (stored && !isTrue(stored.head.rev, signedContentOf(stored.map.entries()))) {
            throw new Error('a state that was never signed')
          }
        } finally {
          await journal.close()
        }
      }
    },
    'a question for a state': {
      valid: [Buffer.from(JSON.stringify({ have: state.head }))],
      isSlow: true,
      read: ([bytes]) => state.read(read(bytes)),
      mayAccept: () => state.head?.term === 1
    },
    'a write to a state': {
      valid: [Buffer.from(JSON.stringify({ name: 'mode', value: { a: [1] } }))],
      isSlow: true,
      read: ([bytes]) =>
        other.takeWrite(read(bytes), { peer }).catch(({ reason }) => {
          throw reason
        })
    }
  }
}
