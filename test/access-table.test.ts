import { once } from 'node:events'
import { createServer } from 'node:net'
import t, { type Test } from 'tap'
import { Protomux } from '../lib/core/holepunch.js'
import { toHex } from '../lib/core/keys.js'
import { Admin, Consumer, KeyPair, Registry, Service } from '../lib/index.js'
import { keepProcessKey } from '../lib/registry/log/own-keys.js'
import { type Approach, type Meeting, type Outcome, Outsider, sign } from './outsider.js'
import { restWhile } from './rest.js'
import { Testbed } from './testbed.js'
import { tableOf } from './threat-table.js'
import { inTime } from './watchdog.js'

const DEEDS = ['replicate', 'list', 'register', 'connect', 'grant'] as const
const CUT_MS = 1000
/** For what is to stay away: others have it in a few ms. */
const LONG_ENOUGH_MS = 500

type Deed = (typeof DEEDS)[number]

/** Somebody who tries its luck. */
interface Party {
  /** For all that it does: the process, the service and the admin that it is or claims to be. */
  keyPair: KeyPair
  approach?: Approach
}

/** A registry with a service, a consumer that copies it, and nothing else; and its keys, as a leak would tell them. */
async function registryOf(t: Test, { isPrivate }: { isPrivate: boolean }) {
  const testbed = await Testbed.make(t)
  const { bootstrap } = testbed
  const seed = KeyPair().publicKey
  const registry = Registry({ seed, dir: await testbed.dir(), bootstrap, private: isPrivate })
  t.teardown(() => registry.destroy())
  await registry.setup()
  const { registryPublicKey, publicKey } = registry
  const admin = Admin({ seed, bootstrap, dir: await testbed.dir() })
  t.teardown(() => admin.destroy())
  await admin.setup()

  const friend = KeyPair()
  const serve = async (role: string, allow?: Buffer[]) => {
    const keyPair = KeyPair()
    await admin.grant(keyPair.publicKey, { serve: ['*'] })
    const server = createServer((socket) => socket.on('error', () => {}).pipe(socket))
    const dir = await testbed.dir()
    const options = { registryPublicKey, bootstrap, role, server, keyPair, allow, dir }
    const service = Service(options)
    t.teardown(() => service.destroy())
    return service.setup()
  }
  const echo = await serve('echo@1.0.0')
  const choosy = await serve('choosy@1.0.0', [friend.publicKey])

  const dir = await testbed.dir()
  await admin.grant((await keepProcessKey(publicKey, dir)).publicKey, { consume: ['*'] })
  const reader = Consumer([], { registryPublicKey, bootstrap, dir })
  t.teardown(() => reader.destroy())
  await reader.setup()

  const outsider = new Outsider(testbed, publicKey)
  const registrar = await outsider.find('registrars')
  const replica = await outsider.find('replicas')
  const logKey = Buffer.from(registry.getStats().logs[0]?.logKey ?? '', 'hex')
  return { publicKey, admin, reader, echo, choosy, friend, outsider, registrar, replica, logKey }
}

/** The registrar has the grant, and a replica hears of it soon after. */
async function onceHeardOf(meet: () => Promise<Meeting>): Promise<Meeting> {
  for (;;) {
    const meeting = await meet()
    if (meeting.isWelcome) return meeting
  }
}

type Setting = Awaited<ReturnType<typeof registryOf>>

/** Tries everything, and tells what came of it. What is done in two ways has to come out the same. */
async function tryAll(
  setting: Setting,
  { keyPair, approach }: Party,
  service = setting.echo
): Promise<Record<Deed, Outcome>> {
  const { outsider, registrar, replica, logKey, publicKey } = setting
  const meet = (whom: Buffer) => outsider.meet(whom, { keys: [keyPair], ...approach })
  const copied: Outcome[] = []
  const listed: Outcome[] = []
  for (const whom of [registrar, replica]) {
    const meeting = await meet(whom)
    const places = await outsider.read(meeting, logKey)
    copied.push(places ? 'yes' : (meeting.denial ?? 'nothing'))
    const isListed = places?.some((place) => place.startsWith('instance/echo/1.0.0/'))
    listed.push(isListed ? 'yes' : (meeting.denial ?? 'nothing'))
  }
  const [address = ''] = service.record?.direct ?? []
  const calls = [
    outsider.connect(service.publicKey, keyPair),
    outsider.connectDirectly(address, service.publicKey, keyPair)
  ]
  const accomplice = { subject: toHex(KeyPair().publicKey), issuer: toHex(keyPair.publicKey) }
  const statement = sign(
    {
      type: 'hyperseaport/grant/1',
      registry: toHex(publicKey),
      ...accomplice,
      serve: [],
      consume: ['*'],
      admin: false,
      issuedAt: Date.now(),
      expiresAt: 0
    },
    keyPair
  )
  const ask = async (ask: (meeting: Meeting) => Promise<Outcome>) => ask(await meet(registrar))
  return {
    replicate: agreed(copied),
    list: agreed(listed),
    register: await ask((meeting) => meeting.register(keyPair, 'guest', '1.0.0')),
    connect: agreed(await Promise.all(calls.map(({ outcome }) => outcome))),
    grant: await ask((meeting) => meeting.ask('put', JSON.stringify(statement)))
  }
}

function agreed(outcomes: Outcome[]): Outcome {
  return [...new Set(outcomes)].join(' or ')
}

/** Tries each row of the table, and that each party has one. */
async function holdsFor(
  t: Test,
  heading: string,
  setting: Setting,
  parties: Record<string, Party>,
  services: Record<string, Setting['echo']> = {}
) {
  const table = await tableOf(heading)
  t.strictSame([...table.keys()], Object.keys(parties), 'every row is tried')
  for (const [who, party] of Object.entries(parties)) {
    t.strictSame(await tryAll(setting, party, services[who]), table.get(who), who)
  }
}

t.test('in a private registry everybody may what the table says', async (t) => {
  const setting = await registryOf(t, { isPrivate: true })
  const { admin, publicKey } = setting
  const ALL = { serve: ['*'], consume: ['*'], admin: true }
  const granted = async (terms: Parameters<typeof admin.grant>[1]): Promise<Party> => {
    const keyPair = KeyPair()
    await admin.grant(keyPair.publicKey, terms)
    return { keyPair }
  }
  const revoked = await granted(ALL)
  await admin.revoke(revoked.keyPair.publicKey)
  const forger = KeyPair()
  const own = { subject: toHex(forger.publicKey), issuer: toHex(forger.publicKey) }
  const forged = sign(
    {
      type: 'hyperseaport/grant/1',
      registry: toHex(publicKey),
      ...own,
      ...ALL,
      issuedAt: Date.now(),
      expiresAt: 0
    },
    forger
  )
  await holdsFor(t, 'In a private registry', setting, {
    'who does not know its public key': {
      keyPair: KeyPair(),
      approach: { registry: KeyPair().publicKey }
    },
    'who knows it, and the keys of logs and services': { keyPair: KeyPair() },
    'who repeats the credentials that it was shown': {
      keyPair: KeyPair(),
      approach: { credentials: (theirs) => theirs }
    },
    'who granted itself everything': { keyPair: forger, approach: { grants: [forged] } },
    'a key that may serve': await granted({ serve: ['guest'] }),
    'a key that may consume': await granted({ consume: ['echo@1.x'] }),
    'a key whose grant ended': await granted({ ...ALL, expiresAt: Date.now() }),
    'a key that was revoked': revoked,
    'an admin, with no other grant': await granted({ admin: true })
  })
  const byOthers = () => admin.list().grants.filter(({ issuer }) => issuer !== toHex(publicKey))
  await restWhile(() => byOthers().length === 0)
  t.equal(byOthers().length, 1, 'one grant was made: by the admin')
})

t.test('in an open registry everybody may what the table says', async (t) => {
  const setting = await registryOf(t, { isPrivate: false })
  const { choosy, friend } = setting
  const parties = {
    'who does not know its public key': {
      keyPair: KeyPair(),
      approach: { registry: KeyPair().publicKey }
    },
    'who knows it': { keyPair: KeyPair() },
    'who knows it, and calls a service that allows others': { keyPair: KeyPair() },
    'who knows it, and calls a service that allows it': { keyPair: friend }
  }
  await holdsFor(t, 'In an open registry', setting, parties, {
    'who knows it, and calls a service that allows others': choosy,
    'who knows it, and calls a service that allows it': choosy
  })
})

t.test('not a byte of a log comes before the welcome, whatever is said in its place', async (t) => {
  const setting = await registryOf(t, { isPrivate: true })
  const { outsider, registrar, replica, echo, logKey } = setting
  const keyPair = KeyPair()
  for (const whom of [registrar, replica]) {
    const connection = await outsider.dial(whom)
    await once(connection, 'data')
    const silent = { connection, mux: Protomux.from(connection) }
    t.equal(await outsider.read(silent, logKey, LONG_ENOUGH_MS), null, 'nothing was said')
    const reticent = await outsider.meet(whom, { credentials: () => null })
    t.equal(await outsider.read(reticent, logKey, LONG_ENOUGH_MS), null, 'a hello was said')
    const hasty = await outsider.meet(whom, { credentials: () => null })
    t.equal(await hasty.register(KeyPair(), 'guest', '1.0.0'), 'hung up')
  }
  const [address = ''] = echo.record?.direct ?? []
  for (const link of [
    outsider.connect(echo.publicKey, keyPair),
    outsider.connectDirectly(address, echo.publicKey, keyPair)
  ]) {
    t.equal(await link.outcome, 'NOT_GRANTED')
    t.equal(await outsider.read(link, logKey, LONG_ENOUGH_MS), null, 'on a link to a service')
  }
})

t.test(
  'a key that is revoked is cut off within a second, and back when it is granted anew',
  async (t) => {
    const setting = await registryOf(t, { isPrivate: true })
    const { admin, outsider, registrar, replica, echo, logKey, reader } = setting
    const keyPair = KeyPair()
    await admin.grant(keyPair.publicKey, { consume: ['*'], serve: ['*'] })
    const approach = { keys: [keyPair] }
    const meetings = [
      await outsider.meet(registrar, approach),
      await onceHeardOf(() => outsider.meet(replica, approach))
    ]
    for (const meeting of meetings) t.ok(await outsider.read(meeting, logKey))
    t.equal(await meetings[0]?.register(keyPair, 'guest', '1.0.0'), 'yes')
    const [address = ''] = echo.record?.direct ?? []
    const calls = [
      outsider.connect(echo.publicKey, keyPair),
      outsider.connectDirectly(address, echo.publicKey, keyPair)
    ]
    for (const call of calls) t.equal(await call.outcome, 'yes')
    const listed = (role: string) => reader.list(role).length
    await restWhile(() => listed('guest') === 0)

    const since = performance.now()
    await admin.revoke(keyPair.publicKey)
    await Promise.all([...meetings, ...calls].map(({ closed }) => closed))
    await restWhile(() => listed('guest') > 0)
    const took = performance.now() - since
    t.ok(inTime(took, CUT_MS), `connections, links and the record were gone after ${took} ms`)
    const outcomes = await tryAll(setting, { keyPair })
    t.strictSame(new Set(Object.values(outcomes)), new Set(['NOT_GRANTED']))

    await admin.grant(keyPair.publicKey, { consume: ['*'], serve: ['*'] })
    while ((await outsider.connect(echo.publicKey, keyPair).outcome) !== 'yes') {
      if (!inTime(performance.now() - since, 10 * CUT_MS)) throw new Error('not let in again')
    }
    await onceHeardOf(() => outsider.meet(replica, approach))
    t.strictSame(await tryAll(setting, { keyPair }), {
      replicate: 'yes',
      list: 'yes',
      register: 'yes',
      connect: 'yes',
      grant: 'NOT_GRANTED'
    })
  }
)
