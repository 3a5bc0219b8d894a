import { mkdir, rm } from 'node:fs/promises'
import { dirname } from 'node:path'
import { setTimeout } from 'node:timers/promises'
import { Abort, unlessAborted } from '../core/abort.js'
import { SeaportError } from '../core/errors.js'
import type { MemberOptions } from '../registry/replica/participant.js'
import { environmentOf } from './app-environment.js'
import type { AppTerms } from './app-terms.js'
import { AppUses } from './app-uses.js'
import { giveTo } from './bundle/unpack.js'
import type { AppUsers } from './driver/app-users.js'
import type { Driver } from './driver/driver.js'
import { refusalOf } from './eligibility.js'
import { type HostFolder, setupJobOf } from './host-folder.js'
import { runJob } from './job.js'
import type { AppView, PlacementView } from './placement-view.js'
import { Ranks } from './ranks.js'
import type { Release } from './release.js'
import { retryPause } from './retry-pause.js'

export interface PreparerOptions {
  /** The host's key, hex. */
  host: string
  hostName: string
  folder: HostFolder
  driver: Driver
  /** Users of their own for apps; null if what is run is the host's own user. */
  users: AppUsers | null
  /** The host's membership, in whose name apps reach what they use. */
  member: MemberOptions & { registryPublicKey: Buffer; dir: string }
  terms: AppTerms
  /** Has a release of an app here: its document, and its bundle. */
  fetch: (hash: string, app: string) => Promise<Release>
  /** The folder of a bundle that is set up. */
  bundleOf: (hash: string, release: Release) => Promise<string>
  /**
   * Called when a command `before` has ended: well, or why not.
   *
   * @returns whether others know of it now
   */
  prepared: (app: string, hash: string, why: string | null) => Promise<boolean>
  /** Called when a release could not be fetched or set up here. */
  troubled: (app: string, hash: string, error: Error) => void
}

/** How long a bundle is not set up again, by how often that has failed for a release, in ms. */
const BACKOFFS_MS = [2000, 30_000, 60_000, 120_000, 300_000, 600_000]

/** How long what a command uses may take to be found, in ms. */
const FINDING_MS = 10_000

/** Only a host that is root has users for apps. */
const HOST_UID = 0

/** Runs commands of releases that have to end before instances start: `setup` on each host, and `before` on one. */
export class Preparer {
  readonly #options: PreparerOptions
  readonly #abort = new Abort()
  /** The apps whose command `before` runs here. */
  readonly #underWay = new Set<string>()
  /** Releases that could not be set up, by hash. */
  readonly #failures = new Map<string, { count: number; until: number; error: SeaportError }>()

  #isStopping = false

  constructor(options: PreparerOptions) {
    this.#options = options
  }

  /** The apps whose command `before` runs here. */
  get preparing(): string[] {
    return [...this.#underWay]
  }

  /** Runs the commands `before` that are due, if this host is the best-ranked one of those that may. */
  look(view: PlacementView) {
    for (const app of view.apps) {
      const { unprepared } = app
      if (!unprepared || this.#underWay.has(app.app) || this.#abort.aborted) continue
      if (bestHost(view, { ...app, ...unprepared }) !== this.#options.host) continue
      this.#underWay.add(app.app)
      void this.#prepare(app.app, unprepared.release)
    }
  }

  /**
   * Runs the command `setup` of a release in its folder.
   *
   * @throws COMMAND_FAILED, and that again at once for some time; what `AppUses.open` throws
   */
  async setUp(hash: string, release: Release, folder: string, name: string) {
    const known = this.#failures.get(hash)
    if (known && performance.now() < known.until) throw known.error
    const job = setupJobOf(name)
    const uid = await this.#options.users?.uidOf(release.app)
    if (uid !== undefined) await giveTo(uid, folder)
    const failure = await this.#run(job, release.setup ?? [], release, { folder, mayWrite: true })
    // It may have brought far more than the bundle, as npm does.
    const why = failure ?? (await this.#whyFull())
    // From here on it is as any other bundle: the app reads it.
    if (uid !== undefined) await giveTo(HOST_UID, folder)
    await this.#forget(job)
    if (why === null) {
      this.#failures.delete(hash)
      return
    }
    const count = (known?.count ?? 0) + 1
    const wait = BACKOFFS_MS[Math.min(count, BACKOFFS_MS.length) - 1] ?? 0
    const error = SeaportError.COMMAND_FAILED(`setup: ${why}`)
    this.#failures.set(hash, { count, until: performance.now() + wait, error })
    throw error
  }

  /** Why too little of the disk is free; null if enough is. */
  #whyFull(): Promise<string | null> {
    const room = this.#options.folder.store.checkRoom(0)
    return room.then(
      () => null,
      (error: SeaportError) => error.text
    )
  }

  /** @param isStopping whether commands that run are ended; otherwise they go on, and the host's next process finds them */
  close(isStopping: boolean) {
    this.#isStopping = isStopping
    this.#abort.abort(SeaportError.CLOSED('the host is closing'))
  }

  /** Never rejects. */
  async #prepare(app: string, hash: string) {
    const { fetch, bundleOf, prepared, troubled } = this.#options
    const job = `before-${hash}`
    try {
      const release = await fetch(hash, app)
      const folder = await bundleOf(hash, release)
      const why = release.before ? await this.#run(job, release.before, release, { folder }) : null
      while (!(await prepared(app, hash, why))) if (this.#abort.aborted) return
      await this.#forget(job)
    } catch (error) {
      if (this.#abort.aborted) return
      troubled(app, hash, error as Error)
      await retryPause()
    } finally {
      this.#underWay.delete(app)
    }
  }

  async #run(
    job: string,
    command: string[],
    release: Release,
    where: { folder: string; mayWrite?: boolean }
  ): Promise<string | null> {
    const { host, hostName, driver, users, member, terms } = this.#options
    const { app, update } = release
    const uid = (await users?.uidOf(app)) ?? null
    const file = this.#usesFile(job)
    await mkdir(dirname(file), { recursive: true })
    const uses = await AppUses.open({
      uses: release.uses,
      file,
      member,
      mayUse: (role, version) => terms.mayUse(app, role, version),
      // What could not be reached is seen by the command, whose end says so.
      ontrouble: () => {}
    })
    try {
      await this.#whenFound(uses)
      return await runJob({
        driver,
        terms: {
          // Names of cgroups are at most 101 characters long.
          name: `${host.slice(0, 16)}-${job.slice(0, 48)}`,
          command,
          ...where,
          ...terms.limitsOf(app),
          uid,
          sandbox: release.sandbox,
          env: { ...environmentOf(release, hostName), ...uses.env }
        },
        folder: this.#options.folder.jobFolder(job),
        timeout: update.deadline,
        signal: this.#abort,
        isKilled: () => this.#isStopping
      })
    } finally {
      await uses.close()
    }
  }

  /** A command that ends has no time to try again: what it uses is looked for before it starts, but not for ever. */
  async #whenFound(uses: AppUses) {
    const end = new AbortController()
    const late = setTimeout(FINDING_MS, undefined, { signal: end.signal }).catch(() => {})
    await unlessAborted(Promise.race([uses.found, late]), this.#abort).finally(() => end.abort())
  }

  /** Keeps its ports beside the job's folder, which is emptied at its start: a job goes on without the host's process. */
  #usesFile(job: string): string {
    return `${this.#options.folder.jobFolder(job)}-uses.json`
  }

  async #forget(job: string) {
    await rm(this.#options.folder.jobFolder(job), { recursive: true, force: true })
    await rm(this.#usesFile(job), { force: true })
  }
}

/** The best-ranked host of those that may have an app, whatever memory is free; undefined if none may. */
function bestHost({ hosts }: PlacementView, app: AppView): string | undefined {
  const fit = hosts.filter((host) => refusalOf(host, app) === null)
  return new Ranks(fit.map(({ host }) => host)).of(app.app)[0]?.host
}
