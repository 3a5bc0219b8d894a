import t, { type Test } from 'tap'
import type { SeaportError } from '../../../lib/core/errors.js'
import { KeyPair, toHex } from '../../../lib/core/keys.js'
import { TAKEOVER } from '../../../lib/core/purpose.js'
import { encodeBody } from '../../../lib/messaging/body.js'
import { Caller } from '../../../lib/messaging/caller.js'
import { HandOver, type HandOverOptions } from '../../../lib/messaging/state/hand-over.js'
import { Recovery } from '../../../lib/messaging/state/recovery.js'
import { type Head, signClaim, signHead } from '../../../lib/messaging/state/statements.js'
import { TakeOver } from '../../../lib/messaging/state/take-over.js'
import { type Berth, bay, SCOPE } from '../bay.js'

/** A running instance, and a newcomer whom it names. */
async function dock(t: Test, options: Partial<HandOverOptions> = {}, caller?: KeyPair) {
  const [keyPair, newcomer] = [KeyPair(), KeyPair()]
  const made = await bay(t, {
    caller: caller ?? newcomer,
    state: { successors: [toHex(newcomer.publicKey)] }
  })
  const berth = made.add('a', {}, keyPair)
  const moved: string[] = []
  const notices: SeaportError[] = []
  let registered: boolean | null = true
  const handOver = new HandOver({
    scope: SCOPE,
    state: berth.state,
    keyPair,
    mayServe: () => false,
    isRegistered: () => registered,
    onmoved: (key) => moved.push(key),
    onnotice: (notice) => notices.push(notice),
    writeWait: 20,
    ...options
  })
  t.teardown(() => handOver.close())
  berth.acceptor.handle(TAKEOVER, (stream, key) => handOver.take(stream, key))
  const takeOver = (own = newcomer) =>
    new TakeOver(berth.key, {
      scope: SCOPE,
      version: '2.0.0',
      keyPair: own,
      processKeyPair: KeyPair(),
      open: (key, signal) => made.pool.open(key, { purpose: TAKEOVER, signal }),
      timeout: 1000
    })
  const cut = () => {
    for (const { responder } of berth.pairs) responder.destroy()
  }
  const setRegistered = (is: boolean | null) => {
    registered = is
  }
  return { ...made, berth, moved, notices, newcomer, takeOver, cut, setRegistered }
}

async function until(condition: () => boolean) {
  while (!condition()) await new Promise((resolve) => setTimeout(resolve, 5))
}

t.test(
  'what is written until it is over is handed over; what waits then is not written',
  async (t) => {
    const { berth, takeOver, moved, newcomer } = await dock(t, { takeBackAfter: 60_000 })
    const { state } = berth
    await state.set('a', 1)
    const writes = Array.from({ length: 200 }, (_, i) => state.set(`n${i % 20}`, i))
    const settled = Promise.allSettled([
      ...writes,
      ...writes.map((_, i) => state.delete(`n${i % 30}`))
    ])
    const swap = takeOver()
    const heritage = await swap.begin()
    if (!heritage || heritage === 'lost') throw new Error('it has a state')
    const late = state.set('late', 1)
    await t.rejects(late, { code: 'REFUSED', executed: 'no' })
    t.same(
      heritage.entries.map(({ name, rev }) => [name, rev]).sort(),
      state
        .entries()
        .map(({ name, rev }) => [name, rev])
        .sort()
    )
    t.equal(heritage.head.rev, state.head?.rev)
    const outcomes = await settled
    t.equal(outcomes.filter(({ status }) => status === 'fulfilled').length, heritage.head.rev - 1)
    t.same(moved, [])
    await swap.finish()
    t.same(moved, [toHex(newcomer.publicKey)])
    await t.rejects(state.set('late', 2), { code: 'REFUSED', message: /handed over/ })
  }
)

t.test('a link that is lost in any step costs nothing', async (t) => {
  const { berth, takeOver, cut, moved } = await dock(t, { takeBackAfter: 60_000 })
  await berth.state.set('a', 1)
  const first = takeOver()
  t.match(await first.begin(), { head: { rev: 1 } })
  cut()
  const again = takeOver()
  t.match(await again.begin(), { head: { rev: 1 } }, 'it says the same a second time')
  cut()
  await again.finish()
  t.equal(moved.length, 1)
})

t.test('a newcomer that is not heard of again: it is taken back, in a later term', async (t) => {
  const { berth, takeOver, notices, moved, setRegistered } = await dock(t, { takeBackAfter: 50 })
  const { state } = berth
  await state.set('a', 1)
  setRegistered(null)
  const swap = takeOver()
  const heritage = await swap.begin()
  if (!heritage || heritage === 'lost') throw new Error('it has a state')
  await t.rejects(state.set('a', 2), { code: 'REFUSED' })
  setRegistered(false)
  await until(() => notices.length > 0)
  t.match(notices, [{ code: 'CONFLICT', message: /taken back/ }])
  t.equal(await state.set('a', 3), 2)
  t.equal(state.head?.term, heritage.head.term + 2, 'later than the newcomer could be')
  t.same(moved, [])
})

t.test('a newcomer whose word is lost, but whose record is seen, has taken over', async (t) => {
  const { berth, takeOver, moved, setRegistered } = await dock(t, { takeBackAfter: 50 })
  await berth.state.set('a', 1)
  await takeOver().begin()
  setRegistered(true)
  await until(() => moved.length > 0)
  await t.rejects(berth.state.set('a', 2), { code: 'REFUSED' })
})

t.test(
  'a newcomer that says that it is registered, and is not, has taken over nothing',
  async (t) => {
    const { berth, takeOver, notices, moved, setRegistered } = await dock(t, { takeBackAfter: 50 })
    const { state } = berth
    await state.set('a', 1)
    setRegistered(false)
    const swap = takeOver()
    await swap.begin()
    const finished = t.rejects(swap.finish(), { code: 'CONFLICT', message: /taken back/ })
    await until(() => notices.length > 0)
    t.match(notices, [{ code: 'CONFLICT', message: /taken back/ }])
    t.same(moved, [])
    t.equal(await state.set('a', 2), 2)
    await finished
  }
)

t.test('a newcomer whose record is seen a moment after its word has taken over', async (t) => {
  const { berth, takeOver, moved, setRegistered } = await dock(t, { takeBackAfter: 60_000 })
  await berth.state.set('a', 1)
  setRegistered(false)
  const swap = takeOver()
  await swap.begin()
  const finished = swap.finish()
  t.same(moved, [])
  setRegistered(true)
  await finished
  await until(() => moved.length > 0)
})

t.test('a newcomer that is lost while a write ends keeps nobody from writing', async (t) => {
  const { berth, pool, cut, notices, setRegistered } = await dock(t, { takeBackAfter: 100 })
  const { state } = berth
  await state.set('a', 1)
  setRegistered(false)
  const stream = await pool.open(Buffer.from(berth.key, 'hex'), { purpose: TAKEOVER })
  const caller = new Caller(stream, { onleaving: () => {} })
  const ask = (name: string, data: unknown) =>
    new Promise<void>((resolve) => {
      const outgoing = {
        name,
        body: encodeBody(data),
        meta: {},
        deadline: performance.now() + 5000
      }
      caller.call(outgoing, { onanswer: () => resolve(), onfailure: () => resolve() })
    })
  await ask('takeover', null)
  const { pause } = state
  let goOn = () => {}
  const isLost = new Promise<void>((resolve) => {
    goOn = resolve
  })
  const asked = new Promise<void>((resolve) => {
    state.pause = async () => {
      resolve()
      await isLost
      await pause.call(state)
    }
  })
  const lost = ask('ready', { rev: 1 })
  await asked
  cut()
  await lost
  goOn()
  await until(() => notices.length > 0)
  t.match(notices, [{ code: 'CONFLICT', message: /taken back/ }])
  t.equal(await state.set('a', 2), 2)
})

t.test('a newcomer that comes after it was taken back is told so', async (t) => {
  const { berth, takeOver, notices, moved, setRegistered } = await dock(t, { takeBackAfter: 20 })
  await berth.state.set('a', 1)
  setRegistered(false)
  const swap = takeOver()
  await swap.begin()
  await until(() => notices.length > 0)
  await t.rejects(swap.finish(), { code: 'CONFLICT', message: /taken back/ })
  t.same(moved, [])
  const again = takeOver()
  t.match(await again.begin(), { head: { rev: 1, term: 3 } }, 'it may ask once more')
  setRegistered(true)
  await again.finish()
  t.equal(moved.length, 1)
})

/** What a newcomer says that goes on with a state as it is now. */
function successionTo({ state }: Berth, newcomer: KeyPair, term = 2) {
  const former = state.head as Head
  const { rev, hash } = former
  const head = signHead(SCOPE, { term, rev, hash, successors: [] }, newcomer)
  return { head, succession: { former, claim: null } }
}

t.test('who is not named is not yielded to', async (t) => {
  const stranger = KeyPair()
  const { berth, takeOver, moved } = await dock(t, {}, stranger)
  await berth.state.set('a', 1)
  const succession = successionTo(berth, stranger)
  await t.rejects(takeOver(stranger).tellSuccession(succession), { code: 'NOT_ALLOWED' })
  t.same(moved, [])
})

t.test('who was not heard of yields to who goes on, and both say what is lost', async (t) => {
  const { berth, takeOver, notices, moved, newcomer } = await dock(t)
  const { state } = berth
  await state.set('a', 1)
  const succession = successionTo(berth, newcomer)
  await state.set('late', 2)
  await t.rejects(takeOver().tellSuccession(succession), { code: 'CONFLICT', message: /: late$/ })
  t.match(notices, [{ code: 'CONFLICT', message: /revision 1,.*: late$/ }])
  t.same(moved, [toHex(newcomer.publicKey)])
  await t.rejects(state.set('a', 3), { code: 'REFUSED', executed: 'no' })
  t.equal(await takeOver().tellSuccession(succession), true, 'it is heard a second time')
  t.equal(moved.length, 1)
})

t.test('nobody yields to a stranger, to an earlier term, or to what was forged', async (t) => {
  const { berth, takeOver, moved, newcomer } = await dock(t)
  const { state } = berth
  await state.set('a', 1)
  const good = successionTo(berth, newcomer)
  const former = signHead(SCOPE, { ...good.succession.former }, newcomer)
  const forged = { ...good, succession: { former: { ...former, owner: berth.key }, claim: null } }
  const refused = { code: 'BAD_INPUT', message: /no succession/ }
  await t.rejects(takeOver().tellSuccession(successionTo(berth, newcomer, 1)), refused)
  await t.rejects(takeOver().tellSuccession(successionTo(berth, KeyPair())), refused)
  await t.rejects(takeOver().tellSuccession(forged), { code: 'BAD_SIGNATURE' })
  const unsigned = { ...good, head: { ...good.head, rev: 7 } }
  await t.rejects(takeOver().tellSuccession(unsigned), { code: 'BAD_SIGNATURE' })
  t.same(moved, [])
  t.equal(await state.set('a', 2), 2)
})

t.test('what a newcomer says out of turn, or badly, does not disturb', async (t) => {
  const { berth, pool, moved } = await dock(t)
  await berth.state.set('a', 1)
  const stream = await pool.open(Buffer.from(berth.key, 'hex'), { purpose: TAKEOVER })
  const caller = new Caller(stream, { onleaving: () => {} })
  const ask = (name: string, data: unknown) =>
    new Promise<string>((resolve) => {
      const deadline = performance.now() + 5000
      caller.call(
        { name, body: encodeBody(data), meta: {}, deadline },
        { onanswer: () => resolve('answered'), onfailure: ({ code }) => resolve(code) }
      )
    })
  t.equal(await ask('taken', {}), 'BAD_INPUT')
  t.equal(await ask('ready', { rev: 0 }), 'BAD_INPUT')
  t.equal(await ask('takeover', { claim: 7 }), 'BAD_MESSAGE')
  t.equal(await ask('takeover', null), 'answered')
  t.equal(await ask('taken', {}), 'BAD_INPUT')
  t.equal(await ask('ready', { rev: 'x' }), 'BAD_INPUT')
  t.equal(await ask('$state', {}), 'UNKNOWN_COMMAND')
  t.equal(await berth.state.set('a', 2), 2)
  t.same(moved, [])
  caller.destroy(new Error('over') as SeaportError)
})

t.test('strangers who hold streams keep no newcomer out', async (t) => {
  const { berth, pool, takeOver, moved } = await dock(t)
  await berth.state.set('a', 1)
  const key = Buffer.from(berth.key, 'hex')
  const held = Array.from({ length: 20 }, () => pool.open(key, { purpose: TAKEOVER }))
  const streams = (await Promise.all(held)).map((stream) => stream.toDuplex())
  for (const stream of streams) stream.on('error', () => {})
  const swap = takeOver()
  t.match(await swap.begin(), { head: { rev: 1 } })
  const more = await Promise.all(
    Array.from({ length: 20 }, () => pool.open(key, { purpose: TAKEOVER }))
  )
  for (const stream of more) stream.toDuplex().on('error', () => {})
  await swap.finish()
  t.equal(moved.length, 1)
})

t.test('of what watchers offer the latest of a known instance counts', async (t) => {
  const { berth } = await dock(t)
  const read = async () => JSON.parse(((await berth.state.read(null)) as { text: string }).text)
  await berth.state.set('a', 1)
  const early = await read()
  await berth.state.set('a', 2)
  const late = await read()
  const stranger = KeyPair()
  const isKnown = (key: string) => key === berth.key
  const claimOf = (from: string) => signClaim(SCOPE, { key: berth.key, from }, stranger)
  const recovery = new Recovery({ scope: SCOPE, isKnown, claimOf })
  t.equal(await recovery.take(late), true)
  t.equal(await recovery.take(early), false)
  t.equal(recovery.isWanted(signHead(SCOPE, { ...late.head, rev: 99 }, stranger)), false)
  t.equal(recovery.isWanted({ ...late.head, rev: 99 }), false, 'which it did not sign')
  const other = new Recovery({ scope: SCOPE, isKnown, claimOf })
  await t.rejects(other.take({ ...late, entries: [] }), { code: 'BAD_SIGNATURE' })
  await t.rejects(other.take({ ...late, entries: early.entries }), { code: 'BAD_SIGNATURE' })
  t.equal(other.best, null)
})
