import type { Test } from 'tap'
import type { SeaportError } from '../../../lib/core/errors.js'
import { KeyPair } from '../../../lib/core/keys.js'
import type { JsonText } from '../../../lib/messaging/body.js'
import { State, type StateOptions } from '../../../lib/messaging/state/state.js'
import { StateFiles } from '../../../lib/registry/log/own-keys.js'
import { PROCESS_KEY, SCOPE } from '../bay.js'

interface OwnerOptions extends Partial<StateOptions> {
  dir: string
  keyPair?: KeyPair
}

/** An owner's state, as a service has it. */
export async function owner(t: Test, { dir, keyPair = KeyPair(), ...options }: OwnerOptions) {
  const notices: SeaportError[] = []
  const changes: unknown[] = []
  const state = new State({
    scope: SCOPE,
    successors: [],
    writers: [],
    onchange: ({ text }) => changes.push(JSON.parse(text)),
    onnotice: (notice) => notices.push(notice),
    ...options
  })
  t.teardown(() => state.close())
  const files = new StateFiles(Buffer.alloc(32), SCOPE.role, keyPair.publicKey, dir)
  const { path, release } = await files.take()
  release()
  await state.open(keyPair, PROCESS_KEY, files)
  const read = async (have: unknown = null) => {
    const answer = await state.read({ have })
    return JSON.parse((answer as JsonText).text ?? JSON.stringify(answer))
  }
  return { state, keyPair, notices, changes, path, read }
}

export const values = (state: State) =>
  Object.fromEntries(state.entries().map(({ name, value }) => [name, value]))
