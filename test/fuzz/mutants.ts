import fc from 'fast-check'
import { SeaportError } from '../../lib/core/errors.js'

/** Something that reads what others send. */
export interface Target {
  /** What it is sent when all is well: one input, or the messages of a session. */
  valid: Buffer[]
  /**
   * Reads a mutant of that. What it returns was accepted; what it throws is a refusal, and has to be a
   * SeaportError.
   */
  read: (input: Buffer[]) => unknown
  /** Whether what was accepted may be. Default: it may. */
  mayAccept?: (accepted: unknown) => boolean
  /** Whether even what is valid is refused, as it comes from somebody else. */
  isForOthers?: boolean
  /** Takes ms, and not µs: fewer will do. */
  isSlow?: boolean
}

/** What a long run tells. */
export interface Findings {
  accepted: number
  refused: number
  /** In ms of CPU: the machine may have more to do. */
  slowest: number
}

const WHOLE = 2 ** 31
/** Anywhere in what is mutated, each place as likely as another. */
const position = fc.noBias(fc.nat({ max: WHOLE - 1 })).map((place) => place / WHOLE)

/** One change: bits flipped, cut, a piece put elsewhere, a length field, noise; or of a session, its order. */
const mutation = fc.record({
  kind: fc.constantFrom('flip', 'cut', 'splice', 'length', 'noise', 'flip', 'noise', 'order'),
  which: position,
  at: position,
  from: position,
  bytes: fc.uint8Array({ minLength: 1, maxLength: 12 })
})

type Mutation = typeof mutation extends fc.Arbitrary<infer M> ? M : never

const mutations = fc.array(mutation, { minLength: 1, maxLength: 4 })

/** What makes a mutant of the messages of a session. */
export const mutants = mutations.map((list) => (session: Buffer[]) => list.reduce(mutate, session))

/**
 * Feeds mutants to a target.
 *
 * @throws what it did wrong, with the mutation that made it, and how to see it again
 */
export async function attack(
  { valid, read, mayAccept = () => true }: Target,
  runs: number,
  seed: number
): Promise<Findings> {
  const findings = { accepted: 0, refused: 0, slowest: 0 }
  const property = fc.asyncProperty(mutations, async (list) => {
    const input = list.reduce(mutate, valid)
    const since = process.cpuUsage()
    try {
      const accepted = await read(input)
      findings.accepted++
      return mayAccept(accepted)
    } catch (error) {
      if (!(error instanceof SeaportError)) throw error
      findings.refused++
      return true
    } finally {
      const { user, system } = process.cpuUsage(since)
      findings.slowest = Math.max(findings.slowest, (user + system) / 1000)
    }
  })
  await fc.assert(property, { numRuns: runs, seed, endOnFailure: true })
  return findings
}

function mutate(session: Buffer[], change: Mutation): Buffer[] {
  const which = Math.floor(change.which * session.length)
  const message = session[which]
  if (message === undefined) return session
  if (change.kind !== 'order' || session.length === 1) {
    return session.with(which, mutateMessage(message, change))
  }
  const other = Math.floor(change.from * session.length)
  const repeats = (change.bytes[0] ?? 0) % 3
  return session.toSpliced(which, 1).toSpliced(other, 0, ...new Array(repeats).fill(message))
}

function mutateMessage(input: Buffer, { kind, at, from, bytes }: Mutation): Buffer {
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
