import t, { type Test } from 'tap'
import { SeaportError } from '../../../lib/core/errors.js'
import { KeyPair, toHex } from '../../../lib/core/keys.js'
import { JsonText } from '../../../lib/messaging/body.js'
import { EntryEvents } from '../../../lib/messaging/entry-events.js'
import { STATE } from '../../../lib/messaging/names.js'
import { EntryState, type StateChange } from '../../../lib/messaging/state/entry-state.js'
import { signEntry, signHead } from '../../../lib/messaging/state/statements.js'
import { restWhile } from '../../rest.js'
import { type BayOptions, type Berth, bay, SCOPE } from '../bay.js'

/** Instances with states, and who watches them. */
async function watching(t: Test, options: BayOptions) {
  const made = await bay(t, options)
  const watchers = new Set<() => void>()
  const notices: SeaportError[] = []
  const entry = () => {
    const events = new EntryEvents({
      pool: made.pool,
      instances: made.candidates,
      watch: (listener) => {
        watchers.add(listener)
        return () => watchers.delete(listener)
      },
      backoffs: [10],
      leaveTimeout: 50,
      onnotice: (notice) => notices.push(notice)
    })
    const state = new EntryState({
      scope: SCOPE,
      events,
      sender: made.sender,
      instances: made.candidates,
      retry: 20,
      onnotice: (notice) => notices.push(notice)
    })
    t.teardown(() => {
      state.close()
      events.close()
    })
    return { events, state }
  }
  const changed = () => {
    for (const listener of watchers) listener()
  }
  return { ...made, entry, changed, notices }
}

/** Collects changes, and resolves once a condition holds. */
function collect(state: EntryState) {
  const changes: StateChange[] = []
  const waiting = new Set<() => void>()
  state.on('change', (change) => {
    changes.push(change)
    for (const check of waiting) check()
  })
  const until = (condition: () => boolean) =>
    new Promise<void>((resolve) => {
      const check = () => condition() && resolve()
      waiting.add(check)
      check()
    })
  return { changes, until, latest: () => changes.at(-1) }
}

function cut({ pairs }: Berth) {
  for (const { responder } of pairs) responder.destroy()
}

t.test('who asks is answered from a copy; what changes is heard', async (t) => {
  const { entry, of } = await watching(t, { instances: { a: {} } })
  const owner = of('a').state
  await owner.set('mode', 'busy')
  await owner.set('jobs', [1, 2])
  const { state } = entry()
  t.equal(await state.get('mode'), 'busy')
  t.equal(await state.get('none'), undefined)
  t.match(await state.entry('jobs'), {
    owner: of('a').key,
    name: 'jobs',
    term: 1,
    rev: 2,
    value: [1, 2],
    stale: false
  })
  const { changes, until } = collect(state)
  t.match(changes, [
    { name: 'jobs', value: [1, 2] },
    { name: 'mode', value: 'busy' }
  ])
  await owner.set('mode', 'idle')
  await owner.delete('jobs')
  await until(() => changes.length === 4)
  t.match(changes.slice(2), [
    { name: 'mode', value: 'idle', rev: 3, deleted: false },
    { name: 'jobs', value: undefined, rev: 4, deleted: true }
  ])
  t.equal(await state.get('jobs'), undefined)
  t.match(await state.entries(), [{ name: 'mode', value: 'idle' }])
})

t.test('who listened to events before reads the state all the same', async (t) => {
  const { add, entry, changed } = await watching(t, {})
  const { state: own, key } = add('a', {})
  await own.set('mode', 'busy')
  changed()
  for (const options of [{}, { instance: key }]) {
    const { events, state } = entry()
    events.on('TICK', () => {})
    await events.ready()
    t.equal(await state.get('mode', options), 'busy')
  }
})

t.test('a change is there before an event that was emitted after it', async (t) => {
  const { entry, of } = await watching(t, { instances: { a: {} } })
  const { events, state } = entry()
  await state.ready()
  const seen: unknown[] = []
  let latest: unknown
  state.on('change', ({ value }) => {
    latest = value
  })
  const heard = new Promise<void>((resolve) => {
    events.on('DONE', (data) => {
      seen.push([data, latest])
      if (seen.length === 20) resolve()
    })
  })
  await events.ready()
  for (let i = 0; i < 20; i++) {
    await of('a').state.set('n', i)
    of('a').events.emit('DONE', i)
  }
  await heard
  t.same(
    seen,
    Array.from({ length: 20 }, (_, i) => [i, i])
  )
})

t.test(
  'a link that is lost, and many changes meanwhile: the copy is what the owner has',
  async (t) => {
    const { entry, of } = await watching(t, { instances: { a: {} }, ring: { maxEvents: 3 } })
    const owner = of('a').state
    const { state } = entry()
    const { changes, until } = collect(state)
    await state.ready()
    for (let round = 0; round < 5; round++) {
      cut(of('a'))
      for (let i = 0; i < 10; i++) await owner.set(`n${i}`, round)
      await owner.delete('n3')
      await owner.set('round', round)
      await until(() => changes.some(({ name, value }) => name === 'round' && value === round))
      t.same(
        (await state.entries()).map(({ name, value, rev }) => [name, value, rev]),
        owner.entries().map(({ name, value, rev }) => [name, value, rev])
      )
    }
  }
)

t.test('who asks for the state of one instance does not wait for another', async (t) => {
  const { entry, of } = await watching(t, { instances: { a: {}, b: {} } })
  await of('a').state.set('mode', 'busy')
  const nobody = toHex(KeyPair().publicKey)
  of('b').candidate = { ...of('b').candidate, servicePublicKey: nobody }
  const { state } = entry()
  t.equal(await state.get('mode', { instance: of('a').key }), 'busy')
})

t.test('of several instances the latest entry counts, or that of one', async (t) => {
  const { entry, of } = await watching(t, { instances: { a: {}, b: {} } })
  await of('a').state.set('mode', 'first')
  await of('b').state.set('mode', 'early')
  await of('a').state.set('mode', 'late')
  const { state } = entry()
  t.equal(await state.get('mode'), 'late')
  t.equal(await state.get('mode', { instance: of('b').key }), 'early')
  t.equal(await state.get('mode', { instance: '00'.repeat(32) }), undefined)
  await of('b').state.set('only', 1)
  const { changes, until } = collect(state)
  await until(() => changes.some(({ name }) => name === 'only'))
  t.same(
    (await state.entries()).map(({ name }) => name),
    ['mode', 'only']
  )
})

t.test('of an owner that is gone the last is kept, and marked stale', async (t) => {
  const { entry, of, remove, changed, add } = await watching(t, { instances: { a: {} } })
  await of('a').state.set('mode', 'busy')
  const { state } = entry()
  await state.ready()
  const { key } = of('a')
  remove(key)
  changed()
  cut(of('a'))
  t.match(await state.entry('mode'), { value: 'busy', owner: key, stale: true })
  const b = add('b', {})
  changed()
  await b.state.set('mode', 'x')
  await b.state.set('mode', 'y')
  const { changes, until } = collect(state)
  await until(() => changes.some(({ value }) => value === 'y'))
  t.match(await state.entry('mode'), { value: 'y', owner: b.key, stale: false })
})

t.test('who may not read is told so, and hears nothing of it among events', async (t) => {
  const { entry, of } = await watching(t, {
    instances: { a: {} },
    service: {
      denialOf: (_peer, name) =>
        name.startsWith(STATE) ? SeaportError.NOT_GRANTED(`you may not ${name}`) : null
    }
  })
  const { events, state } = entry()
  await of('a').state.set('secret', 1)
  await t.rejects(state.get('secret'), { code: 'NOT_GRANTED' })
  const types = new Set<string>()
  events.on('*', (_data, { type }) => types.add(type))
  while (!types.has('END')) {
    await of('a').state.set('secret', 2)
    of('a').events.emit('END')
    await new Promise(setImmediate)
  }
  t.same([...types], ['END'])
})

t.test('who loses the right hears no changes any more', async (t) => {
  let isAllowed = true
  const { entry, of, notices } = await watching(t, {
    instances: { a: {} },
    service: {
      denialOf: (_peer, name) =>
        isAllowed || name !== STATE ? null : SeaportError.NOT_GRANTED(`you may not ${name}`)
    }
  })
  const { state } = entry()
  await state.ready()
  isAllowed = false
  of('a').speaker.recheck()
  await of('a').state.set('secret', 1)
  await restWhile(() => notices.length === 0)
  t.same(await state.entries().catch(({ code }) => code), 'NOT_GRANTED')
})

t.test('a writer that the owner named writes, others do not', async (t) => {
  let writer = ''
  const writers: string[] = []
  const { entry, of, sender } = await watching(t, {
    instances: { a: {} },
    state: { writers },
    service: {
      denialOf: (peer) => {
        writer = peer
        return null
      }
    }
  })
  const { state } = entry()
  await t.rejects(state.set('mode', 1), { code: 'NOT_ALLOWED', executed: 'no' })
  writers.push(writer)
  t.equal(await state.set('mode', 1), 1)
  t.equal(of('a').state.get('mode'), 1)
  await t.rejects(state.set('mode', 2, { if: 0 }), { code: 'CONFLICT', executed: 'no' })
  t.equal(await state.set('mode', 2, { if: 1 }), 2)
  for (const value of [undefined, Buffer.from('busy'), 1n]) {
    await t.rejects(state.set('mode', value), { code: 'BAD_INPUT', executed: 'no' })
  }
  await t.rejects(sender.send('$set', { name: 'a b', value: 1 }), { code: 'BAD_INPUT' })
  await t.rejects(sender.send('$set', { name: 'a' }), { code: 'BAD_INPUT' })
  await t.rejects(sender.send('$set', null), { code: 'BAD_INPUT' })
  await t.rejects(sender.send('$set', { name: 'a', value: 1, if: 'x' }), { code: 'BAD_INPUT' })
  t.equal(await state.delete('mode', { if: 2 }), 3)
  t.equal(of('a').state.get('mode'), undefined)
})

t.test('what an owner did not sign, hides, forks or takes back is not believed', async (t) => {
  const keyPair = KeyPair()
  const { entry, add, notices } = await watching(t, { instances: {} })
  const berth = add('rogue', {}, keyPair)
  const { state: owner } = berth
  await owner.set('a', 1)
  await owner.set('b', 2)
  const { state } = entry()
  await state.ready()
  const { head } = owner
  if (!head) throw new Error('it has a head')
  const lie = async (data: unknown, code: string) => {
    notices.length = 0
    berth.events.emitOwn(STATE, new JsonText(JSON.stringify(data)))
    await restWhile(() => notices.length === 0)
    t.equal(notices[0]?.code, code)
    t.same(
      (await state.entries()).map(({ name, value }) => [name, value]),
      [
        ['a', 1],
        ['b', 2]
      ]
    )
  }
  const signed = { ...signEntry(SCOPE, head, { name: 'a', rev: 3, json: '7' }, keyPair), value: 7 }
  const hidden = signHead(SCOPE, { ...head, rev: 3, hash: head.hash }, keyPair)
  const other = signHead(SCOPE, { ...head, rev: 3 }, KeyPair())
  const fork = signHead(SCOPE, { ...head, hash: '00'.repeat(32) }, keyPair)
  const unsigned = { ...hidden, signature: '00'.repeat(64) }
  await lie({ entry: signed, head: hidden }, 'BAD_SIGNATURE')
  await lie({ entry: signed, head: unsigned }, 'BAD_SIGNATURE')
  await lie({ entry: signed, head: other }, 'BAD_MESSAGE')
  await lie({ entry: { ...signed, value: 8 }, head: hidden }, 'BAD_SIGNATURE')
  await lie({ entry: signed, head: fork }, 'CONFLICT')
  await lie({ entry: null, head: 'x' }, 'BAD_MESSAGE')
  await lie(7, 'BAD_MESSAGE')
})

t.test('a large state comes whole', async (t) => {
  const { entry, of } = await watching(t, { instances: { a: {} }, service: { maxBody: 1000 } })
  const owner = of('a').state
  for (let i = 0; i < 17; i++) await owner.set(`big${i}`, 'ü'.repeat(30_000))
  await Promise.all(Array.from({ length: 500 }, (_, i) => owner.set(`n${i}`, i)))
  const { state } = entry()
  t.equal((await state.entries()).length, 517)
  await owner.set('big3', `"${'\\'.repeat(29_000)}`)
  const { changes, until } = collect(state)
  await until(() => changes.some(({ name, rev }) => name === 'big3' && rev > 517))
})
