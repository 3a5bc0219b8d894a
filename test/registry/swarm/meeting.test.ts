import { once } from 'node:events'
import t, { type Test } from 'tap'
import { KeyPair } from '../../../lib/core/keys.js'
import type { Registrar } from '../../../lib/registry/registrar/registrar.js'
import {
  type Handshake,
  MAX_CREDENTIALS_BYTES,
  Membership
} from '../../../lib/registry/swarm/membership.js'
import { signGrant } from '../../../lib/registry/trust/grant.js'
import { Outsider } from '../../outsider.js'
import { shows, Testbed } from '../../testbed.js'

const CREDENTIALS = 3
/** For what is to stay away: others have it in a few ms. */
const LONG_ENOUGH_MS = 500
const TERMS = { serve: ['*'], consume: ['*'], admin: false, expiresAt: 0 }

async function privateRegistry(t: Test) {
  const testbed = await Testbed.make(t)
  const { publicKey } = testbed.keyPair
  const registrar = await testbed.registrar({ private: true })
  const grant = (keyPair: KeyPair) => {
    const statement = signGrant(publicKey, testbed.keyPair, keyPair.publicKey, TERMS)
    registrar.replica.membership.learn(statement)
  }
  return { testbed, registrar, grant, outsider: new Outsider(testbed, publicKey) }
}

/** As either side of one connection sees it. */
const handshake = (isInitiator: boolean): Handshake => ({
  handshakeHash: Buffer.alloc(64, 7),
  isInitiator,
  remotePublicKey: Buffer.alloc(32, 5)
})

function keyOf(registrar: Registrar): Buffer {
  return Buffer.from(registrar.replica.key, 'hex')
}

/** A participant with a grant, that has the whole directory. */
async function granted({ testbed, grant }: Awaited<ReturnType<typeof privateRegistry>>) {
  const membership = new Membership(testbed.keyPair.publicKey)
  const keyPair = KeyPair()
  membership.addIdentity(keyPair)
  grant(keyPair)
  const replica = await testbed.replica({ membership })
  await testbed.lease(replica, { keyPair })
  await shows(replica.directory, (instances) => instances.length === 1)
  await replica.peering.announced()
  return replica
}

t.test('who repeats the credentials that were shown to it gains nothing by them', async (t) => {
  const setting = await privateRegistry(t)
  const replica = await granted(setting)
  const credentials = (theirs: Buffer) => theirs
  for (const participant of [Buffer.from(replica.key, 'hex'), keyOf(setting.registrar)]) {
    const mirror = await setting.outsider.meet(participant, { credentials })
    t.equal(mirror.isWelcome, false)
    t.equal(mirror.denial, 'BAD_SIGNATURE')
  }
})

t.test(
  'only who holds the registry’s own key denies for good; a member may be mistaken',
  async (t) => {
    const setting = await privateRegistry(t)
    const member = await granted(setting)
    const denials: [code: string, byRegistry: boolean][] = []
    const stranger = await setting.testbed.replica()
    stranger.on('denied', ({ code }, byRegistry) => denials.push([code, byRegistry]))
    while (new Set(denials.map(String)).size < 2) await once(stranger, 'denied')
    t.same([...new Set(denials.map(String))].sort(), ['NOT_GRANTED,false', 'NOT_GRANTED,true'])
    t.ok(member.isSynced)
  }
)

t.test('a registrar shows its log’s key to nobody before it knows of a grant', async (t) => {
  const { registrar, outsider, grant } = await privateRegistry(t)
  const logKey = registrar.replica.logs()[0]?.logKey ?? ''
  const stranger = await outsider.meet(keyOf(registrar))
  t.equal(stranger.denial, 'NOT_GRANTED')
  t.match(stranger.heard.get(CREDENTIALS)?.toString(), '"proofs"')
  t.notMatch(stranger.heard.get(CREDENTIALS)?.toString(), logKey)

  const member = KeyPair()
  grant(member)
  const ofNewerBuild = { type: 'hyperseaport/grant/9', subject: 7 }
  const meeting = await outsider.meet(keyOf(registrar), { keys: [member], grants: [ofNewerBuild] })
  t.ok(meeting.isWelcome, 'and what is unknown is passed over')
  const places = await outsider.read(meeting, Buffer.from(logKey, 'hex'))
  t.ok(places?.some((place) => place.startsWith('hyperseaport/grant/1/')))
})

t.test('a process that holds more keys than it can show gets in by those that matter', (t) => {
  const [issuer, deputy, process] = [KeyPair(), KeyPair(), KeyPair()]
  const { publicKey } = issuer
  const ours = new Membership(publicKey)
  const admin = signGrant(publicKey, issuer, deputy.publicKey, { ...TERMS, admin: true })
  ours.learn(admin)
  const serve = Array.from({ length: 20 }, (_, i) => `@a-team-with-a-name/service-${i}@^1.2.3`)
  ours.addIdentity(process)
  ours.learn(signGrant(publicKey, deputy, process.publicKey, { ...TERMS, serve }))
  for (let i = 0; i < 200; i++) {
    const service = KeyPair()
    ours.addIdentity(service)
    if (i < 60) ours.learn(signGrant(publicKey, deputy, service.publicKey, { ...TERMS, serve }))
  }
  const shown = ours.credentials(handshake(true))
  t.ok(shown.byteLength <= MAX_CREDENTIALS_BYTES)

  const theirs = new Membership(publicKey)
  theirs.grants.isPrivate = true
  const identities = theirs.admit(handshake(false), shown)
  t.ok(identities.size > 10)
  const right = { kind: 'serve', role: '@a-team-with-a-name/service-1', version: '1.2.3' } as const
  t.ok([...identities].slice(1).every((key) => theirs.grants.allows(key, right)))
  t.end()
})

t.test('who is denied is told which of its keys have no grant', (t) => {
  const { publicKey } = KeyPair()
  const theirs = new Membership(publicKey)
  theirs.grants.isPrivate = true
  const ours = new Membership(publicKey)
  for (const message of [
    /that key has no/,
    /\w{8}… has no/,
    /neither \S+ nor \S+ has a/,
    /none of/
  ]) {
    const shown = ours.credentials(handshake(true))
    t.throws(() => theirs.admit(handshake(false), shown), { code: 'NOT_GRANTED', message })
    ours.addIdentity(KeyPair())
  }
  t.end()
})

t.test('two registrars who never met prove to each other that they hold the seed', async (t) => {
  const testbed = await Testbed.make(t)
  const first = await testbed.registrar({ private: true })
  const second = await testbed.registrar({ private: true })
  while (first.replica.logs().length + second.replica.logs().length < 4) {
    await Promise.race([first, second].map(({ replica }) => once(replica, 'introduced')))
  }
  t.same(
    first.replica
      .logs()
      .map(({ logKey }) => logKey)
      .sort(),
    second.replica
      .logs()
      .map(({ logKey }) => logKey)
      .sort()
  )
})

t.test('a participant that knows nothing of its registry has nothing to show', async (t) => {
  const testbed = await Testbed.make(t)
  const outsider = new Outsider(testbed, testbed.keyPair.publicKey)
  const registrar = await testbed.registrar({ private: true })
  const { logKey } = registrar.replica.logs()[0] ?? { logKey: '' }
  const membership = new Membership(testbed.keyPair.publicKey)
  const keyPair = KeyPair()
  membership.addIdentity(keyPair)
  const statement = signGrant(testbed.keyPair.publicKey, testbed.keyPair, keyPair.publicKey, TERMS)
  registrar.replica.membership.learn(statement)
  const dir = await testbed.dir()
  const before = await testbed.replica({ membership, dir })
  await before.synced()
  await testbed.close(before)
  await testbed.close(registrar)

  // Its logs are on its disk, and it has forgotten whose they are.
  const storage = await testbed.storage(dir)
  storage.memory.certificates = []
  storage.memory.mode = null
  await storage.save()
  await storage.close()
  const replica = await testbed.replica({ dir })
  await replica.peering.announced()
  const stranger = await outsider.meet(Buffer.from(replica.key, 'hex'))
  t.ok(stranger.isWelcome, 'it may be a member')
  t.equal(await outsider.read(stranger, Buffer.from(logKey, 'hex'), LONG_ENOUGH_MS), null)
})
