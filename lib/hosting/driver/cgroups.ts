import { access, constants, mkdir, readFile, rmdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { onceAllowed } from '../../core/open-limit.js'
import { signalTo } from './proc.js'

export interface Limits {
  /** The limit of memory in bytes; 0 for none. */
  memory: number
  cpu: number | null
  pids: number
}

/** The controllers that are used. In version 1 of cgroups each has a tree of its own. */
const CONTROLLERS = ['memory', 'pids', 'cpu'] as const
type Controller = (typeof CONTROLLERS)[number]

const ROOT = '/sys/fs/cgroup'
const GROUP = 'hyperseaport'
const CPU_PERIOD_US = 100_000
const KILL_ROUNDS = 200
const KILL_PAUSE_MS = 10

/** A tree of cgroups in which this process may make groups. */
interface Tree {
  /** The path of our groups. */
  path: string
  version: 1 | 2
  controllers: readonly Controller[]
}

/**
 * Groups of processes with limits: the kernel's cgroups of version 1, 2, or both at once. In each tree our groups are
 * below the group of this process, so that its limits hold for them as well.
 */
export class Cgroups {
  /** As where none can be made. */
  static readonly none = new Cgroups([])

  readonly #trees: readonly Tree[]

  private constructor(trees: readonly Tree[]) {
    this.#trees = trees
  }

  /** Finds out which groups can be made here. A process that is not root and was given no group can make none. */
  static async find(): Promise<Cgroups> {
    const own = await ownGroups()
    const trees: Tree[] = []
    for (const controller of CONTROLLERS) {
      const at = own.get(controller)
      const tree =
        at === undefined ? null : await makeTree(join(ROOT, controller, at), 1, [controller])
      if (tree) trees.push(tree)
    }
    const at = own.get('')
    for (const root of at === undefined ? [] : [join(ROOT, 'unified'), ROOT]) {
      const tree = await makeUnified(join(root, at ?? ''))
      if (!tree) continue
      trees.push(tree)
      break
    }
    return new Cgroups(trees)
  }

  /** Which limits can be set. */
  get controllers(): string[] {
    return [...new Set(this.#trees.flatMap(({ controllers }) => controllers))].sort()
  }

  /**
   * Makes a group for an instance in each tree.
   *
   * @returns their folders; write a pid to `cgroup.procs` in each
   */
  async make(name: string, limits: Limits): Promise<string[]> {
    const groups: string[] = []
    for (const { path, version, controllers } of this.#trees) {
      const group = join(path, name)
      // A host that was killed at the wrong moment may have left processes that it had not recorded.
      await endGroup(group)
      await mkdir(group, { recursive: true })
      groups.push(group)
      for (const controller of controllers) {
        for (const [file, value] of settings(controller, version, limits)) {
          await writeFile(join(group, file), value).catch(() => {})
        }
      }
    }
    return groups
  }
}

/** Kills all processes in a group. Resolves when the group is removed, or cannot be emptied. */
export async function endGroup(group: string) {
  // In version 2 one write kills them all.
  await writeFile(join(group, 'cgroup.kill'), '1').catch(() => {})
  for (let round = 0; round < KILL_ROUNDS; round++) {
    const pids = await pidsIn(group)
    if (pids.length === 0) break
    for (const pid of pids) signalTo(pid, 'SIGKILL')
    await new Promise((resolve) => setTimeout(resolve, KILL_PAUSE_MS))
  }
  await rmdir(group).catch(() => {})
}

export async function pidsIn(group: string): Promise<number[]> {
  const text = await onceAllowed(() => readFile(join(group, 'cgroup.procs'), 'utf8')).catch(
    () => ''
  )
  return text.split('\n').filter(Boolean).map(Number)
}

/** Whether the kernel has killed something in a group because it had no more memory. */
export async function hasRunOut(group: string): Promise<boolean> {
  for (const file of ['memory.oom_control', 'memory.events']) {
    const text = await readFile(join(group, file), 'utf8').catch(() => '')
    if (/^oom_kill [1-9]/m.test(text)) return true
  }
  return false
}

/** Bytes that a group uses; null if it does not count them. */
export async function memoryOf(group: string): Promise<number | null> {
  for (const file of ['memory.usage_in_bytes', 'memory.current']) {
    const text = await readFile(join(group, file), 'utf8').catch(() => null)
    if (text !== null) return Number(text)
  }
  return null
}

function settings(
  controller: Controller,
  version: 1 | 2,
  { memory, cpu, pids }: Limits
): [file: string, value: string][] {
  if (controller === 'pids') return [['pids.max', String(pids)]]
  if (controller === 'memory' && memory > 0) {
    // Swap has to count as well. Version 1 accepts the limit of memory and swap only after that of memory.
    return version === 1
      ? [
          ['memory.limit_in_bytes', String(memory)],
          ['memory.memsw.limit_in_bytes', String(memory)]
        ]
      : [
          ['memory.max', String(memory)],
          ['memory.swap.max', '0']
        ]
  }
  if (controller !== 'cpu' || cpu === null) return []
  const quota = Math.max(1000, Math.round(cpu * CPU_PERIOD_US))
  return version === 1
    ? [['cpu.cfs_quota_us', String(quota)]]
    : [['cpu.max', `${quota} ${CPU_PERIOD_US}`]]
}

/** The groups of this process by controller. The name is '' for version 2. */
async function ownGroups(): Promise<Map<string, string>> {
  const text = await readFile('/proc/self/cgroup', 'utf8').catch(() => '')
  const groups = new Map<string, string>()
  for (const line of text.split('\n')) {
    const [, names, path] = /^\d+:([^:]*):(.*)$/.exec(line) ?? []
    for (const name of names?.split(',') ?? []) groups.set(name, path ?? '/')
  }
  return groups
}

async function makeTree(
  parent: string,
  version: 1 | 2,
  controllers: readonly Controller[]
): Promise<Tree | null> {
  const path = join(parent, GROUP)
  try {
    await access(join(parent, 'cgroup.procs'), constants.W_OK)
    await mkdir(path, { recursive: true })
    return { path, version, controllers }
  } catch {
    return null
  }
}

/**
 * Makes the tree of version 2. There a group may not have both processes and child groups with limits, so a controller
 * is used only if it can be enabled for ours.
 */
async function makeUnified(parent: string): Promise<Tree | null> {
  const tree = await makeTree(parent, 2, [])
  if (!tree) return null
  const available = await readFile(join(parent, 'cgroup.controllers'), 'utf8').catch(() => '')
  const controllers: Controller[] = []
  for (const controller of CONTROLLERS) {
    if (!available.split(/\s/).includes(controller)) continue
    const isOn = await enable(parent, tree.path, controller)
    if (isOn) controllers.push(controller)
  }
  return { ...tree, controllers }
}

async function enable(parent: string, path: string, controller: Controller): Promise<boolean> {
  try {
    for (const at of [parent, path]) {
      await writeFile(join(at, 'cgroup.subtree_control'), `+${controller}`)
    }
    return true
  } catch {
    return false
  }
}
