import fc from 'fast-check'
import t from 'tap'
import { SeaportError } from '../lib/errors.js'
import { c, type Encoding } from '../lib/holepunch.js'
import { KeyPair } from '../lib/keys.js'
import { checkCertificate, signCertificate } from '../lib/registry/certificate.js'
import { checkGrantStatement, parsePattern, signGrant } from '../lib/registry/grant.js'
import { Membership } from '../lib/registry/membership.js'
import {
  answerEncoding,
  grantEncoding,
  leaseEncoding,
  logsEncoding,
  pingEncoding
} from '../lib/registry/protocol.js'
import {
  checkEntry,
  parseRecord,
  recordOf,
  signRecord,
  verifyRecord
} from '../lib/registry/record.js'
import { parseRoleRange, parseServiceRole } from '../lib/role.js'

/** `FUZZ_RUNS=1000000` for the long run, `FUZZ_SEED=…` to see one again. */
const RUNS = Number(process.env.FUZZ_RUNS ?? 2000)
const SEED = Number(process.env.FUZZ_SEED ?? Date.now() % 2 ** 31)
/** No input may take longer than this, however loaded the machine, in ms. */
const MAX_INPUT_MS = 2000

// A long run takes its time.
if (process.env.FUZZ_RUNS) t.setTimeout(0)

const registry = KeyPair('01'.repeat(32))
const owner = KeyPair('02'.repeat(32))
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

/** Decodes; a signed thing that is accepted comes back as the JSON that was signed. */
type Decode = (input: Buffer) => unknown

function encoded<T>(encoding: Encoding<T>, value: T): Buffer {
  return Buffer.from(c.encode(encoding, value))
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

const membership = new Membership(registry.publicKey)
membership.addIdentity(owner)
membership.learn(grant)
/** As either side of one connection sees it. */
const handshake = (isInitiator: boolean) => ({
  handshakeHash: Buffer.alloc(64, 7),
  isInitiator,
  remotePublicKey: Buffer.alloc(32, 5)
})

/** What a mutant that is accepted must still say. */
const SIGNED: Record<string, { valid: Buffer; decode: Decode }> = {
  record: {
    valid: json(record),
    decode: (input) => {
      const found = parseRecord(input.toString(), registry.publicKey)
      if (!verifyRecord(found)) throw SeaportError.BAD_SIGNATURE('no')
      return found
    }
  },
  'log entry': {
    valid: json({ type: 'hyperseaport/stale/1', record }),
    decode: (input) => {
      const found = recordOf(checkEntry(parse(input), registry.publicKey))
      if (!verifyRecord(found)) throw SeaportError.BAD_SIGNATURE('no')
      return found
    }
  },
  certificate: {
    valid: json(certificate),
    decode: (input) => checkCertificate(parse(input), registry.publicKey)
  },
  grant: {
    valid: json(grant),
    decode: (input) => checkGrantStatement(parse(input), registry.publicKey)
  }
}

const TRUTHS = new Set([record, certificate, grant].map(sorted))

const UNSIGNED: Record<string, { valid: Buffer; decode: Decode }> = {
  credentials: {
    valid: membership.credentials(handshake(true)),
    decode: (input) => new Membership(registry.publicKey).admit(handshake(false), input)
  },
  lease: message(leaseEncoding, { id: 1, record: '{}' }),
  'grant request': message(grantEncoding, { id: 300, statement: JSON.stringify(grant) }),
  answer: message(answerEncoding, { id: 1, code: 'BAD_KEY', text: 'no', seq: 2 ** 40 }),
  ping: message(pingEncoding, { interval: 1000, length: 70_000 }),
  logs: message(logsEncoding, [{ certificate, length: 12 }]),
  role: { valid: Buffer.from('@team/api@1.2.3-rc.1'), decode: (i) => parseServiceRole(`${i}`) },
  range: { valid: Buffer.from('api@>=1.2.3 <2 || ^3.x'), decode: (i) => parseRoleRange(`${i}`) },
  pattern: { valid: Buffer.from('@team/*@~1.2'), decode: (i) => parsePattern(`${i}`) }
}

function message<T>(encoding: Encoding<T>, value: T) {
  const valid = encoded(encoding, value)
  // Protomux ends the connection on whatever a decoder throws: plain errors are an answer, too.
  const decode = (input: Buffer) => {
    try {
      return c.decode(encoding, input)
    } catch (error) {
      throw SeaportError.BAD_MESSAGE('refused', error)
    }
  }
  return { valid, decode }
}

function sorted(value: unknown): string {
  return JSON.stringify(value, (_, item) =>
    item && typeof item === 'object' && !Array.isArray(item)
      ? Object.fromEntries(Object.entries(item).sort(([a], [b]) => (a < b ? -1 : 1)))
      : item
  )
}

const position = fc.double({ min: 0, max: 1, noNaN: true, maxExcluded: true })

/** One change: bits flipped, cut, a piece put elsewhere, a length field, noise. */
const mutation = fc.record({
  kind: fc.constantFrom('flip', 'cut', 'splice', 'length', 'noise'),
  at: position,
  from: position,
  bytes: fc.uint8Array({ minLength: 1, maxLength: 12 })
})

type Mutation = typeof mutation extends fc.Arbitrary<infer M> ? M : never

function mutate(input: Buffer, { kind, at, from, bytes }: Mutation): Buffer {
  const i = Math.floor(at * input.byteLength)
  const j = Math.floor(from * input.byteLength)
  const head = input.subarray(0, i)
  if (kind === 'cut') return head
  if (kind === 'splice') return Buffer.concat([head, input.subarray(j, j + (bytes[0] ?? 1))])
  if (kind === 'noise') return Buffer.concat([head, bytes, input.subarray(i)])
  if (input.byteLength === 0) return input
  const changed = Buffer.from(input)
  if (kind === 'flip') changed[i] = (changed[i] ?? 0) ^ (1 << ((bytes[0] ?? 0) % 8))
  else changed[i] = [0, 0xfc, 0xfd, 0xfe, 0xff][(bytes[0] ?? 0) % 5] ?? 0
  return changed
}

const mutations = fc.array(mutation, { minLength: 1, maxLength: 4 })

function attack(t: Tap, name: string, valid: Buffer, decode: Decode, isSigned: boolean) {
  let slowest = 0
  fc.assert(
    fc.property(mutations, (list) => {
      const input = list.reduce(mutate, valid)
      const since = performance.now()
      try {
        const value = decode(input)
        return !isSigned || TRUTHS.has(sorted(value))
      } catch (error) {
        return error instanceof SeaportError
      } finally {
        slowest = Math.max(slowest, performance.now() - since)
      }
    }),
    { numRuns: RUNS, seed: SEED, endOnFailure: true }
  )
  t.ok(slowest < MAX_INPUT_MS, `${name}: ${RUNS} inputs, the slowest ${slowest.toFixed(1)} ms`)
}

type Tap = Pick<typeof t, 'ok'>

t.test(`no mutant crashes or hangs a decoder, and no forgery is accepted (seed ${SEED})`, (t) => {
  for (const [name, { valid, decode }] of Object.entries(SIGNED)) {
    t.ok(TRUTHS.has(sorted(decode(valid))), `${name}: the original is accepted`)
    attack(t, name, valid, decode, true)
  }
  for (const [name, { valid, decode }] of Object.entries(UNSIGNED)) {
    t.doesNotThrow(() => decode(valid), `${name}: the original is accepted`)
    attack(t, name, valid, decode, false)
  }
  t.end()
})
