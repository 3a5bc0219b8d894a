import { once } from 'node:events'
import t, { type Test } from 'tap'
import { Admin } from '../../../lib/admin.js'
import { KeyPair, toHex } from '../../../lib/core/keys.js'
import type { Registrar } from '../../../lib/registry/registrar/registrar.js'
import { Membership } from '../../../lib/registry/swarm/membership.js'
import { MAX_STATEMENT_BYTES } from '../../../lib/registry/trust/statement-kind.js'
import { StatementKinds } from '../../../lib/registry/trust/statement-kinds.js'
import type { Statements } from '../../../lib/registry/trust/statements.js'
import { Registry } from '../../../lib/registry.js'
import { Outsider, sign } from '../../outsider.js'
import { Testbed } from '../../testbed.js'
import { NOTE, note } from '../notes.js'

const kinds = [NOTE]

/** A replica that reads notes, and knows a registrar. */
async function reader(testbed: Testbed) {
  const membership = new Membership(testbed.keyPair.publicKey, new StatementKinds(kinds))
  const replica = await testbed.replica({ membership })
  if (replica.registrars.length === 0) await once(replica, 'registrar')
  return replica
}

/** Resolves with the note of a title once there is one of such a number. */
function shown(statements: Statements, title: string, seq = 1): Promise<unknown> {
  return new Promise((resolve) => {
    const stop = statements.watch(NOTE, check)
    function check() {
      const found = statements.get(NOTE, title)
      if (!found || found.seq < seq) return
      stop()
      resolve(found)
    }
    check()
  })
}

/** Resolves once one registrar has read all that another has written. */
function hasRead(one: Registrar, other: Registrar): Promise<void> {
  const written = ({ replica }: Registrar) =>
    replica.logs().find(({ registrarKey }) => registrarKey === other.replica.key)?.applied ?? 0
  return new Promise((resolve) => {
    const check = () => {
      if (written(one) < written(other)) return
      one.replica.off('applied', check)
      resolve()
    }
    one.replica.on('applied', check)
    check()
  })
}

async function registryFace(t: Test, testbed: Testbed, seed: Buffer) {
  const { bootstrap } = testbed
  const registry = Registry({ seed, bootstrap, dir: await testbed.dir(), kinds, private: false })
  t.teardown(() => registry.destroy())
  await registry.setup()
  const admin = Admin({ seed, bootstrap, dir: await testbed.dir(), kinds })
  t.teardown(() => admin.destroy())
  await admin.setup()
  return { registry, admin }
}

t.test(
  'a kind that was passed in goes by one registrar to the other, and to every replica',
  async (t) => {
    const testbed = await Testbed.make(t)
    const { keyPair } = testbed
    const first = await testbed.registrar({ kinds })
    const replica = await reader(testbed)
    const said = note(keyPair.publicKey, keyPair)
    await replica.put(said)
    t.strictSame(first.replica.statements.list(NOTE), [said])
    const second = await testbed.registrar({ kinds })
    await shown(second.replica.statements, 'lunch')
    await testbed.close(first)
    const newcomer = await reader(testbed)
    t.strictSame(await shown(newcomer.statements, 'lunch'), said)
  }
)

t.test(
  'a registrar that does not know a kind refuses it, and those who do not skip it',
  async (t) => {
    const testbed = await Testbed.make(t)
    const { keyPair } = testbed
    const { publicKey } = keyPair
    const older = await testbed.registrar()
    const replica = await reader(testbed)
    await t.rejects(replica.put(note(publicKey, keyPair)), { code: 'UNKNOWN_KIND' })
    const newer = await testbed.registrar({ kinds })
    const notices: unknown[] = []
    for (const one of [older, older.replica]) one.on('notice', (notice) => notices.push(notice))
    while (replica.registrars.length < 2) await once(replica, 'registrar')
    await replica.put(note(publicKey, keyPair))
    await hasRead(older, newer)
    t.strictSame(older.replica.statements.all(), [])
    t.strictSame(notices, [])
  }
)

t.test('a foreign client is told by a code why its statement is not taken', async (t) => {
  const testbed = await Testbed.make(t)
  const { keyPair } = testbed
  const { publicKey } = keyPair
  const registrar = await testbed.registrar({ kinds })
  const outsider = new Outsider(testbed, publicKey)
  const meeting = await outsider.meet(Buffer.from(registrar.replica.key, 'hex'))
  const put = (statement: object) => meeting.ask('put', JSON.stringify(statement))
  const stranger = KeyPair()
  const fields = {
    type: 'example/note/1',
    registry: toHex(publicKey),
    issuer: toHex(publicKey),
    title: 'lunch',
    text: 'at noon',
    seq: 2
  }
  const good = sign(fields, keyPair)
  t.equal(await put({ ...good, type: 'example/other/1' }), 'UNKNOWN_KIND')
  t.equal(await put({ ...good, text: 'at one' }), 'BAD_SIGNATURE')
  t.equal(await put(sign({ ...fields, seq: 'two' }, keyPair)), 'BAD_MESSAGE')
  t.equal(
    await put(sign({ ...fields, issuer: toHex(stranger.publicKey) }, stranger)),
    'NOT_GRANTED'
  )
  t.equal(registrar.replica.statements.all().length, 0)
  t.equal(await put(good), 'yes')
  t.equal(await put(good), 'yes', 'who got no answer asks again')
  t.equal(await put(sign({ ...fields, text: 'at one' }, keyPair)), 'CONFLICT')
  t.match(registrar.replica.statements.list(NOTE), [{ text: 'at noon' }])
  t.equal(await put({ ...good, text: 'x'.repeat(MAX_STATEMENT_BYTES) }), 'hung up', 'unread')
})

t.test('an export has it, and import brings it back where no later one is', async (t) => {
  const testbed = await Testbed.make(t)
  const seed = Buffer.alloc(32, 9)
  const owner = KeyPair(seed)
  const first = await registryFace(t, testbed, seed)
  const lines = [note(owner.publicKey, owner), note(owner.publicKey, owner, { title: 'tea' })]
  t.equal(await first.admin.import(lines.map((line) => JSON.stringify(line))), 2)
  const backup = first.admin.export()
  t.equal(backup.filter((line) => JSON.parse(line).type === NOTE.type).length, 2)

  const other = await Testbed.make(t)
  const second = await registryFace(t, other, seed)
  const later = JSON.stringify(note(owner.publicKey, owner, { seq: 5 }))
  t.equal(await second.admin.import([later]), 1)
  const foreign = JSON.stringify({ ...lines[0], type: 'example/other/1' })
  t.equal(await second.admin.import([...backup, foreign]), 1, 'the later one stays')
  const numbers = second.admin
    .export()
    .map((line) => [JSON.parse(line).title, JSON.parse(line).seq])
  t.strictSame(numbers.sort(), [
    ['lunch', 5],
    ['tea', 1]
  ])
})
