import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Test } from 'tap'
import { KeyPair, toHex } from '../../lib/core/keys.js'
import { decodeBody, encodeBody } from '../../lib/messaging/body.js'
import { StateCopy } from '../../lib/messaging/state/copy.js'
import { Journal } from '../../lib/messaging/state/journal.js'
import { State } from '../../lib/messaging/state/state.js'
import type { SignedEntry } from '../../lib/messaging/state/statements.js'
import { readStored } from '../../lib/messaging/state/stored.js'
import type { Target } from './mutants.js'

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

export async function stateTargets(t: Test): Promise<Record<string, Target>> {
  const { dir, path, keyPair, changes, snapshot, versions, state, other } = await written(t)
  const isTrue = (rev: number | undefined, content: string) => versions.get(rev ?? 0) === content
  let mutants = 0
  return {
    'a state as it is copied': {
      valid: [snapshot, ...changes.slice(2)],
      async read([first, ...rest]) {
        const copy = new StateCopy(scope, toHex(keyPair.publicKey))
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
