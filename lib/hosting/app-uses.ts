import { readFile } from 'node:fs/promises'
import semver from 'semver'
import { Consumer } from '../consumer.js'
import { SeaportError } from '../core/errors.js'
import { LOOPBACK, probeTcpPort } from '../core/listen.js'
import { replaceUnlessSame } from '../core/replace-file.js'
import type { MemberOptions } from '../registry/replica/participant.js'
import { type UsedRole, usedRoles, variablesOf } from './used-roles.js'

export interface AppUsesOptions {
  /** `db@3.x`, each. */
  uses: readonly string[]
  /** Keeps the ports, because a program that outlives its host goes on to use them. */
  file: string
  /** The host's membership, in whose name they are dialed. */
  member: MemberOptions & { registryPublicKey: Buffer; dir: string }
  /** Whether whoever deploys the app may consume a role at a version. */
  mayUse: (role: string, version: string) => boolean
  /** Called with what goes wrong later. */
  ontrouble: (error: SeaportError) => void
}

/**
 * What one instance of an app uses: a port of this machine for each role, behind which its host dials services. So the
 * app needs no key, and reaches no other role.
 */
export class AppUses {
  /** The variables that tell the app where it finds them. */
  readonly env: Readonly<Record<string, string>>
  /** Whether a program that was started earlier knows other ports. */
  readonly hasMoved: boolean
  /** Resolves when each role was found, or the uses are closed. */
  readonly found: Promise<unknown>
  readonly #consumer: { destroy(): Promise<void> } | null

  private constructor(
    env: Record<string, string>,
    hasMoved: boolean,
    consumer: { destroy(): Promise<void> } | null,
    found: Promise<unknown>
  ) {
    this.env = env
    this.hasMoved = hasMoved
    this.#consumer = consumer
    this.found = found
  }

  /**
   * Chooses the ports. They take connections as soon as somebody serves the role.
   *
   * @throws BAD_ROLE, BAD_CONFIG, NOT_GRANTED, LISTEN_FAILED, STORAGE_FAILED
   */
  static async open({ uses, file, member, mayUse, ontrouble }: AppUsesOptions): Promise<AppUses> {
    const roles = usedRoles(uses)
    if (roles.length === 0) return new AppUses({}, false, null, Promise.resolve())
    const kept = await readPorts(file)
    const ports: number[] = []
    for (const role of roles) ports.push(await portFor(kept?.[nameOf(role)] ?? 0))
    const texts = roles.map(nameOf)
    const consumer = Consumer(texts, {
      ...member,
      ports,
      serve: false,
      timeout: Infinity,
      denialTimeout: Infinity
    })
    try {
      for (const role of roles) {
        for (const version of versionsOf(role, consumer)) {
          if (mayUse(role.role, version)) continue
          throw SeaportError.NOT_GRANTED(
            `whoever deploys the app may not consume ${role.role}@${version}, which it uses`
          )
        }
      }
      const chosen = Object.fromEntries(texts.map((text, i) => [text, ports[i] ?? 0]))
      await replaceUnlessSame(file, JSON.stringify(chosen))
    } catch (error) {
      await consumer.destroy()
      throw error
    }
    consumer.on('refused', (error, entry) =>
      ontrouble(SeaportError.NO_INSTANCE(`${entry}: ${error.text}`, error))
    )
    const found = consumer.setup().catch((error: SeaportError) => {
      if (error.code !== 'CLOSED') ontrouble(error)
    })
    const variables = roles.map((role, i) => variablesOf(role, LOOPBACK, ports[i] ?? 0))
    const hasMoved = texts.some((text, i) => kept?.[text] !== ports[i])
    return new AppUses(Object.assign({}, ...variables), hasMoved, consumer, found)
  }

  async close() {
    await this.#consumer?.destroy()
  }
}

/**
 * The versions for which the right is asked: all that are listed, and the least of the range, so that one that nobody
 * serves yet is asked for, too.
 */
function versionsOf({ role, range }: UsedRole, consumer: Consumer): string[] {
  const least = semver.minVersion(range)?.version
  return [least ?? '0.0.0', ...consumer.list(`${role}@${range}`).map(({ version }) => version)]
}

function nameOf({ role, range }: UsedRole): string {
  return `${role}@${range}`
}

/** The port that was used before, unless somebody else has it by now. */
async function portFor(kept: number): Promise<number> {
  if (kept === 0) return probeTcpPort(0, LOOPBACK)
  return probeTcpPort(kept, LOOPBACK).catch(() => probeTcpPort(0, LOOPBACK))
}

async function readPorts(file: string): Promise<Record<string, number> | null> {
  try {
    return JSON.parse(await readFile(file, 'utf8'))
  } catch {
    return null
  }
}
