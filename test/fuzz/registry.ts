import { SeaportError } from '../../lib/core/errors.js'
import { c, type Encoding } from '../../lib/core/holepunch.js'
import { KeyPair, toHex } from '../../lib/core/keys.js'
import { parseRoleRange, parseServiceRole } from '../../lib/core/role.js'
import { parseRolePattern } from '../../lib/core/role-pattern.js'
import { parseLogValue } from '../../lib/registry/log/log-value.js'
import { exchangeHello } from '../../lib/registry/swarm/hello.js'
import { Membership } from '../../lib/registry/swarm/membership.js'
import { Peer } from '../../lib/registry/swarm/peer.js'
import {
  answerEncoding,
  leaseEncoding,
  logsEncoding,
  pingEncoding,
  putEncoding
} from '../../lib/registry/swarm/protocol.js'
import { checkCertificate, signCertificate } from '../../lib/registry/trust/certificate.js'
import { checkGrantStatement, signGrant } from '../../lib/registry/trust/grant.js'
import {
  checkEntry,
  isEntry,
  parseRecord,
  recordOf,
  signRecord,
  verifyRecord
} from '../../lib/registry/trust/record.js'
import { checkSnapshot, signSnapshot } from '../../lib/registry/trust/snapshot.js'
import { StatementKinds } from '../../lib/registry/trust/statement-kinds.js'
import { Line, settled } from './line.js'
import type { Target } from './mutants.js'

const registry = KeyPair('01'.repeat(32))
const owner = KeyPair('02'.repeat(32))
const kinds = new StatementKinds()
const record = signRecord(registry.publicKey, owner, {
  role: '@team/api',
  version: '1.2.3-rc.1',
  tags: ['eu', 'ü'],
  status: 'passing',
  direct: ['127.0.0.1:80'],
  holder: '06'.repeat(32),
  seq: 1_700_000_000_000
})
const certificate = signCertificate(registry, {
  registrarKey: '03'.repeat(32),
  logKey: '04'.repeat(32),
  private: true,
  startedAt: 1,
  renewedAt: 2
})
const terms = { serve: ['a@^1'], consume: ['*@2.x'], admin: false, expiresAt: 0 }
const grant = signGrant(registry.publicKey, registry, owner.publicKey, terms, 1_700_000_000_000)

const snapshot = signSnapshot(registry, {
  logKey: '04'.repeat(32),
  length: 70_000,
  key: '07'.repeat(32),
  blocks: 12,
  values: 10_000
})

const TRUTHS = new Set([record, certificate, grant, snapshot].map(sorted))

/** Signed: a mutant that is accepted must still say what was signed. */
const signed: Record<string, Target> = {
  record: {
    valid: [json(record)],
    read: one((input) => genuine(parseRecord(input.toString(), registry.publicKey)))
  },
  'log entry': {
    valid: [json({ type: 'hyperseaport/stale/1', record })],
    read: one((input) => genuine(recordOf(checkEntry(parse(input), registry.publicKey))))
  },
  'grant in a log': {
    valid: [json(grant)],
    read: one((input) => {
      const value = parseLogValue(`${input}`, registry.publicKey, kinds)
      if (value === null) throw SeaportError.UNKNOWN_KIND('passed over')
      return isEntry(value) ? genuine(recordOf(value)) : value
    })
  },
  snapshot: {
    valid: [json(snapshot)],
    read: one((input) => checkSnapshot(parse(input), registry.publicKey))
  },
  certificate: {
    valid: [json(certificate)],
    read: one((input) => checkCertificate(parse(input), registry.publicKey))
  },
  grant: {
    valid: [json(grant)],
    read: one((input) => checkGrantStatement(parse(input), registry.publicKey))
  }
}

const texts: Record<string, Target> = {
  role: {
    valid: [Buffer.from('@team/api@1.2.3-rc.1')],
    read: one((i) => parseServiceRole(`${i}`))
  },
  range: {
    valid: [Buffer.from('api@>=1.2.3 <2 || ^3.x')],
    read: one((i) => parseRoleRange(`${i}`))
  },
  pattern: { valid: [Buffer.from('@team/*@~1.2')], read: one((i) => parseRolePattern(`${i}`)) }
}

/** One side of a registry that is private, with a key that was granted something. */
function member(): Membership {
  const membership = new Membership(registry.publicKey)
  membership.grants.isPrivate = true
  membership.addIdentity(owner)
  return membership
}

/** Says hello, and resolves with the keys that the other side has proven to hold once it is welcome. */
function welcome(line: Line, membership: Membership): Promise<ReadonlySet<string>> {
  return new Promise((resolve, reject) => {
    let identities: ReadonlySet<string> = new Set()
    line.on('close', () => reject(SeaportError.CLOSED('it hung up')))
    exchangeHello(line.stream, registry.publicKey, {
      credentials: () => membership.credentials(line),
      admit: (credentials) => {
        identities = membership.admit(line, credentials)
      },
      onhello: () => resolve(identities),
      ondenied: reject
    })
  })
}

async function hello(): Promise<Target> {
  const [near, far] = Line.pair()
  const ours = member()
  ours.learn(grant)
  await Promise.all([welcome(near, ours), welcome(far, ours)])
  const held = new Set([toHex(near.publicKey), toHex(owner.publicKey)])
  return {
    valid: near.said,
    async read(messages) {
      const line = new Line(false)
      const welcomed = welcome(line, member())
      welcomed.catch(() => {})
      for (const message of messages) line.feed(message)
      // Whoever did not get so far is still waited for.
      line.destroy()
      return welcomed
    },
    mayAccept: (identities) => [...(identities as Set<string>)].every((key) => held.has(key))
  }
}

/** Both sides of the registry's channel, and what each hears of the other. */
async function channels(): Promise<Record<string, Target>> {
  const [near, far] = Line.pair()
  const [replica, registrar] = [new Peer(near.stream), registrarOn(far)]
  replica.sendLogs([{ certificate, length: 12, snapshot }])
  await ask(replica)
  for (const peer of [replica, registrar]) peer.destroy()
  return {
    'channel of a registrar': {
      valid: near.said,
      read: (messages) => hear(new Line(false), messages, registrarOn),
      mayAccept: areTrue
    },
    'channel of a replica': {
      valid: far.said,
      read: (messages) =>
        hear(new Line(true), messages, (line) => {
          const peer = new Peer(line.stream)
          ask(peer).catch(() => {})
          return peer
        }),
      mayAccept: areTrue
    }
  }
}

function registrarOn(line: Line): Peer {
  const peer = new Peer(line.stream)
  peer.startPinging(() => ({ interval: 60_000, length: 3 }))
  peer.sendLogs([{ certificate, length: 12, snapshot }])
  peer.on('lease', ({ id }) => peer.answer({ id, code: '', text: '', seq: 1 }))
  peer.on('put', ({ id }) => peer.answer({ id, code: 'NOT_GRANTED', text: 'no', seq: 0 }))
  return peer
}

async function ask(peer: Peer) {
  await peer.lease(record)
  await peer.put(grant)
}

/** Lets a peer hear messages, and tells which signed things were accepted of them. */
async function hear(line: Line, messages: Buffer[], makePeer: (line: Line) => Peer) {
  const peer = makePeer(line)
  const accepted: unknown[] = []
  const take = (read: () => unknown) => {
    try {
      accepted.push(read())
    } catch (error) {
      if (!(error instanceof SeaportError)) throw error
    }
  }
  peer.on('lease', (request) =>
    take(() => genuine(parseRecord(request.record, registry.publicKey)))
  )
  peer.on('put', ({ statement }) =>
    take(() => checkGrantStatement(parse(Buffer.from(statement)), registry.publicKey))
  )
  peer.on('logs', (logs) => {
    for (const log of logs) {
      take(() => checkCertificate(log.certificate, registry.publicKey))
      take(() => checkSnapshot(log.snapshot, registry.publicKey))
    }
  })
  for (const message of messages) line.feed(message)
  await settled()
  const isCut = line.destroying
  peer.destroy()
  await settled()
  if (isCut) throw SeaportError.BAD_MESSAGE('it was cut off')
  return accepted
}

export async function registryTargets(): Promise<Record<string, Target>> {
  for (const target of Object.values(signed)) target.mayAccept = isTrue
  const presented = member()
  presented.learn(grant)
  return {
    ...signed,
    ...texts,
    credentials: {
      valid: [presented.credentials(new Line(true))],
      read: one((input) => member().admit(new Line(false), input))
    },
    lease: message(leaseEncoding, { id: 1, record: '{}' }),
    'grant request': message(putEncoding, { id: 300, statement: JSON.stringify(grant) }),
    answer: message(answerEncoding, { id: 1, code: 'BAD_KEY', text: 'no', seq: 2 ** 40 }),
    ping: message(pingEncoding, { interval: 1000, length: 70_000 }),
    logs: message(logsEncoding, { logs: [{ certificate, length: 12, snapshot }], isLast: true }),
    hello: await hello(),
    ...(await channels())
  }
}

function one(read: (input: Buffer) => unknown): Target['read'] {
  return ([input]) => read(input as Buffer)
}

function message<T>(encoding: Encoding<T>, value: T): Target {
  return {
    valid: [Buffer.from(c.encode(encoding, value))],
    // To Protomux plain errors are an answer, too; what looks like a mistake of ours ends the process.
    read: one((input) => {
      try {
        return c.decode(encoding, input)
      } catch (error) {
        if ((error as Error).constructor === Error) throw SeaportError.BAD_MESSAGE('refused', error)
        throw error
      }
    })
  }
}

/** @throws BAD_SIGNATURE */
function genuine(found: ReturnType<typeof parseRecord>) {
  if (!verifyRecord(found)) throw SeaportError.BAD_SIGNATURE('not by its owner')
  return found
}

function areTrue(statements: unknown): boolean {
  return (statements as unknown[]).every(isTrue)
}

function isTrue(statement: unknown): boolean {
  return TRUTHS.has(sorted(statement))
}

function json(value: unknown): Buffer {
  return Buffer.from(JSON.stringify(value))
}

function parse(input: Buffer): unknown {
  try {
    return JSON.parse(input.toString())
  } catch {
    throw SeaportError.BAD_MESSAGE('no JSON')
  }
}

function sorted(value: unknown): string {
  return JSON.stringify(value, (_, item) =>
    item && typeof item === 'object' && !Array.isArray(item)
      ? Object.fromEntries(Object.entries(item).sort(([a], [b]) => (a < b ? -1 : 1)))
      : item
  )
}
