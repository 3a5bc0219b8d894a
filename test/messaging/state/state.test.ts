import { execFileSync } from 'node:child_process'
import { copyFile, readFile, stat, writeFile } from 'node:fs/promises'
import t from 'tap'
import { toHex } from '../../../lib/core/keys.js'
import { StateCopy } from '../../../lib/messaging/state/copy.js'
import { StateFiles } from '../../../lib/registry/log/own-keys.js'
import { SCOPE } from '../bay.js'
import { owner, values } from './owner.js'

/** Else the signal ends the process. */
process.on('SIGXFSZ', () => {})

t.test('what was set is there, after a restart, too', async (t) => {
  const dir = t.testdir({})
  const first = await owner(t, { dir })
  t.equal(await first.state.set('mode', 'busy'), 1)
  t.equal(await first.state.set('jobs', { n: [1, null, 'ü'] }), 2)
  t.equal(await first.state.set('mode', 'idle'), 3)
  t.equal(await first.state.delete('jobs'), 4)
  t.equal(first.state.get('mode'), 'idle')
  t.equal(first.state.get('jobs'), undefined)
  t.match(first.state.entries(), [
    { owner: toHex(first.keyPair.publicKey), name: 'mode', term: 1, rev: 3, value: 'idle' }
  ])
  await first.state.close()
  await t.rejects(first.state.set('mode', 1), { code: 'CLOSED', executed: 'no' })

  const second = await owner(t, { dir, keyPair: first.keyPair })
  t.same(values(second.state), { mode: 'idle' })
  t.same(second.state.head, first.state.head)
  t.equal(await second.state.set('mode', 1), 5)
})

t.test('names of an object are no harm, and order is kept', async (t) => {
  const dir = t.testdir({})
  const { state, keyPair } = await owner(t, { dir })
  const odd = JSON.parse('{"__proto__":{"a":1},"10":1,"9":2,"constructor":null}')
  await state.set('constructor', odd)
  await state.close()
  const again = await owner(t, { dir, keyPair })
  t.equal(JSON.stringify(again.state.get('constructor')), JSON.stringify(odd))
  t.equal(again.state.get('toString'), undefined)
})

t.test('compare-and-set: of many who read the same, one writes', async (t) => {
  const { state } = await owner(t, { dir: t.testdir({}) })
  const results = await Promise.allSettled(
    Array.from({ length: 20 }, (_, i) => state.set('leader', i, { if: 0 }))
  )
  t.equal(results.filter(({ status }) => status === 'fulfilled').length, 1)
  t.match(results[5], { reason: { code: 'CONFLICT', executed: 'no' } })
  await t.rejects(state.set('leader', 1, { if: 7 }), { code: 'CONFLICT', message: /revision 1/ })
  t.equal(await state.set('leader', 1, { if: 1 }), 2)
  await t.rejects(state.delete('leader', { if: 1 }), { code: 'CONFLICT' })
  t.equal(await state.delete('leader', { if: 2 }), 3)
})

t.test('what cannot be kept is refused, and changes nothing', async (t) => {
  const { state } = await owner(t, { dir: t.testdir({}) })
  await t.rejects(state.set('no name', 1), { code: 'USAGE' })
  await t.rejects(state.set('$own', 1), { code: 'USAGE' })
  await t.rejects(state.set('a', undefined), { code: 'BAD_INPUT' })
  await t.rejects(state.set('a', Buffer.from('a')), { code: 'BAD_INPUT' })
  await t.rejects(state.set('a', 1n), { code: 'BAD_INPUT' })
  await t.rejects(state.set('a', JSON.parse(`${'['.repeat(250)}${']'.repeat(250)}`)), {
    code: 'BAD_INPUT'
  })
  await t.rejects(state.set('a', 'x'.repeat(60 * 1024)), { code: 'TOO_LARGE', executed: 'no' })
  for (let i = 0; i < 17; i++) await state.set(`big${i}`, 'x'.repeat(60_000))
  await t.rejects(state.set('a', 'x'.repeat(60_000)), { code: 'LIMIT_REACHED' })
  t.equal(state.entries().length, 17)
  const { rev } = state.head as { rev: number }
  t.equal(rev, 17)
})

t.test('the journal is compacted, and stays small however often it is written', async (t) => {
  const dir = t.testdir({})
  const { state, path, keyPair } = await owner(t, { dir })
  for (let i = 0; i < 40; i++) {
    await Promise.all(Array.from({ length: 50 }, (_, j) => state.set(`n${j % 5}`, `${i} ${j}`)))
  }
  t.ok((await stat(path)).size < 256 * 1024)
  const before = values(state)
  await state.close()
  t.same(values((await owner(t, { dir, keyPair })).state), before)
})

t.test('a torn write is as if it had not begun; what was acknowledged is there', async (t) => {
  const dir = t.testdir({})
  const { state, path, keyPair } = await owner(t, { dir })
  await state.set('a', 1)
  const { size } = await stat(path)
  await state.set('a', 2)
  await state.close()
  const whole = await readFile(path)
  for (const cut of [1, 7, 100, whole.byteLength - size]) {
    await writeFile(path, whole.subarray(0, whole.byteLength - cut))
    const again = await owner(t, { dir, keyPair })
    t.same(values(again.state), { a: 1 })
    t.match(again.state.head, { term: 1, rev: 1 })
    t.same(again.notices, [])
    await again.state.close()
  }
})

t.test('damage is told, and what follows counts as later than what was lost', async (t) => {
  const dir = t.testdir({})
  const { state, path, keyPair } = await owner(t, { dir })
  for (let i = 0; i < 5; i++) await state.set('a', i)
  await state.close()
  const bytes = await readFile(path)
  bytes[bytes.lastIndexOf('"value":3') + 8] = 0x37
  await writeFile(path, bytes)
  const again = await owner(t, { dir, keyPair })
  t.same(values(again.state), { a: 2 })
  t.match(again.notices, [{ code: 'STORAGE_FAILED', message: /damaged/ }])
  t.match(again.state.head, { term: 2 })
})

t.test('damage to any line is told, be it the first or the last', async (t) => {
  const dir = t.testdir({})
  const { state, path, keyPair } = await owner(t, { dir })
  for (let i = 0; i < 3; i++) await state.set(`n${i}`, i)
  await state.close()
  const whole = await readFile(path)
  for (const [i, kept] of [{}, { n0: 0 }, { n0: 0, n1: 1 }].entries()) {
    const bytes = Buffer.from(whole)
    bytes[bytes.indexOf(`"value":${i}`) + 8] = 0x37
    await writeFile(path, bytes)
    const again = await owner(t, { dir, keyPair })
    t.same(values(again.state), kept)
    t.match(again.notices, [{ code: 'STORAGE_FAILED', message: /damaged/ }])
    await again.state.set('later', 1)
    t.match(again.state.head, { term: 2 }, 'it counts as later than what was lost')
    t.same(await readFile(`${path}.damaged`), bytes)
    await again.state.close()
  }
})

t.test("another's journal, or one that was tampered with, is not believed", async (t) => {
  const dir = t.testdir({})
  const [a, b] = [await owner(t, { dir }), await owner(t, { dir })]
  await a.state.set('a', 1)
  await a.state.close()
  await b.state.close()
  await copyFile(a.path, b.path)
  const again = await owner(t, { dir, keyPair: b.keyPair })
  t.same(again.state.entries(), [])
  await again.state.set('b', 1)
  t.equal(again.state.head?.owner, toHex(b.keyPair.publicKey))
})

t.test('a full disk fails what is set, and nobody sees it; then it goes on', async (t) => {
  const { state, path, changes } = await owner(t, { dir: t.testdir({}) })
  await state.set('a', 1)
  const limit = (size: string) =>
    execFileSync('prlimit', [`--pid=${process.pid}`, `--fsize=${size}:unlimited`])
  limit(`${(await stat(path)).size + 50}`)
  try {
    await t.rejects(state.set('a', 2), { code: 'STORAGE_FAILED', executed: 'no' })
    t.equal(state.get('a'), 1)
    t.equal(state.head?.rev, 1)
  } finally {
    limit('unlimited')
  }
  t.equal(await state.set('a', 3), 2)
  t.equal(changes.length, 2)
})

t.test('a full disk fails changes together that would not fit in another order', async (t) => {
  const dir = t.testdir({})
  const { state, keyPair, path } = await owner(t, { dir })
  const names = Array.from({ length: 4096 }, (_, i) => `n${i}`)
  await Promise.all(names.map((name) => state.set(name, 1)))
  const limit = (size: string) =>
    execFileSync('prlimit', [`--pid=${process.pid}`, `--fsize=${size}:unlimited`])
  limit(`${(await stat(path)).size + 50}`)
  try {
    const changes = [state.delete('n0'), state.set('another', 1)]
    for (const change of changes) await t.rejects(change, { code: 'STORAGE_FAILED' })
  } finally {
    limit('unlimited')
  }
  t.equal(state.get('n0'), 1)
  t.equal(state.get('another'), undefined)
  await state.set('n1', 2)
  const before = values(state)
  await state.close()
  const again = await owner(t, { dir, keyPair })
  t.same(again.notices, [])
  t.same(values(again.state), before)
})

t.test('two processes do not write one state', async (t) => {
  const dir = t.testdir({})
  const first = await owner(t, { dir })
  await first.state.set('a', 1)
  const files = new StateFiles(Buffer.alloc(32), SCOPE.role, first.keyPair.publicKey, dir)
  await t.rejects(files.take(), { code: 'STORAGE_LOCKED' })
})

t.test('an owner whose disk was lost goes on later than any watcher has seen', async (t) => {
  const first = await owner(t, { dir: t.testdir({}) })
  for (let i = 0; i < 9; i++) await first.state.set('a', i)
  const copy = new StateCopy(SCOPE, toHex(first.keyPair.publicKey))
  await copy.takeSnapshot(await first.read())
  await first.state.close()

  const second = await owner(t, { dir: t.testdir({ empty: {} }), keyPair: first.keyPair })
  await second.state.set('a', 'new')
  await t.rejects(copy.takeSnapshot(await second.read()), { code: 'CONFLICT', message: /earlier/ })
  const answer = await second.read(copy.head)
  t.match(answer.head, { term: 2, rev: 9 })
  t.match(second.notices, [{ code: 'STORAGE_FAILED', message: /8 changes/ }])
  t.match(await copy.takeSnapshot(answer), [{ name: 'a', entry: { json: '"new"' } }])

  const forged = { ...copy.head, term: 77, signature: '00'.repeat(64) }
  t.match((await second.read(forged)).head, { term: 2 }, 'which somebody else cannot have it do')
})
