import { EventEmitter, once } from 'node:events'
import t from 'tap'
import { SeaportError } from '../../../lib/core/errors.js'
import { KeyPair, toHex } from '../../../lib/core/keys.js'
import { Predecessor } from '../../../lib/messaging/state/predecessor.js'
import { signHead } from '../../../lib/messaging/state/statements.js'
import { bay, SCOPE } from '../bay.js'

t.test('the one before is told whenever it is there, until it has heard', async (t) => {
  const { add } = await bay(t, {})
  const [keyPair, former] = [KeyPair(), KeyPair()]
  const { state } = add('b', {}, keyPair)
  await state.set('a', 1)
  const head = signHead(SCOPE, { term: 1, rev: 1, hash: '00'.repeat(32), successors: [] }, former)
  await state.adopt({ head, entries: [], claim: null })
  const events = new EventEmitter()
  let isThere = false
  let asked = 0
  let failure = SeaportError.LINK_LOST('it is frozen')
  const notices: SeaportError[] = []
  const predecessor = new Predecessor({
    scope: SCOPE,
    version: '2.0.0',
    keyPair,
    processKeyPair: KeyPair(),
    state,
    open: async () => {
      asked++
      events.emit('asked')
      throw failure
    },
    isThere: (key) => isThere && key === toHex(former.publicKey),
    watch: (listener) => {
      events.on('change', listener)
      return () => events.off('change', listener)
    },
    onnotice: (notice) => {
      notices.push(notice)
      events.emit('notice')
    },
    retry: 5
  })
  events.emit('change')
  t.equal(asked, 0, 'it is not there')
  isThere = true
  events.emit('change')
  while (asked < 3) await once(events, 'asked')
  failure = SeaportError.NOT_ALLOWED('it names others')
  await once(events, 'notice')
  const until = asked
  events.emit('change')
  t.equal(asked, until, 'it has answered')
  isThere = false
  events.emit('change')
  isThere = true
  events.emit('change')
  await once(events, 'notice')
  t.equal(asked, until + 1, 'it came back')
  predecessor.close()
  t.equal(events.listenerCount('change'), 0)
  t.match(notices, [{ code: 'NOT_ALLOWED' }, { code: 'NOT_ALLOWED' }])
})
