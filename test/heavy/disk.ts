import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Test } from 'tap'
import type { Cli } from '../bin/cli.js'

const SIZE_BYTES = 16 * 1024 * 1024
const PIECE = Buffer.alloc(64 * 1024)

/** A disk that gets full: a small tmpfs. */
export class Disk {
  readonly path: string
  /** What runs a program where the disk is. */
  readonly at: string[]
  /** Its path for who is not where the disk is. */
  readonly outside: string
  readonly #size: number

  private constructor(path: string, pid: number, home: string, size: number) {
    this.path = path
    this.at = ['nsenter', `--mount=/proc/${pid}/ns/mnt`, `--wd=${home}`]
    this.outside = join(`/proc/${pid}/root`, path)
    this.#size = size
  }

  /** @param size in bytes */
  static async mount(t: Test, { home }: Cli, size = SIZE_BYTES): Promise<Disk> {
    const path = join(home, 'disk')
    mkdirSync(path)
    const script = `mount -t tmpfs -o size=${size} disk "$1" && echo mounted && exec cat`
    const keeper = spawn('unshare', ['--mount', 'sh', '-c', script, 'sh', path], {
      stdio: ['pipe', 'pipe', 'inherit']
    })
    t.teardown(async () => {
      const ended = once(keeper, 'exit')
      keeper.stdin.end()
      await ended
    })
    await once(keeper.stdout, 'data')
    return new Disk(path, keeper.pid as number, home, size)
  }

  fill() {
    try {
      for (let filled = 0; filled <= this.#size; filled += PIECE.length) {
        writeFileSync(this.#file(), PIECE, { flag: 'a' })
      }
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOSPC') return
      throw error
    }
    throw new Error('the disk has more room than it was made with')
  }

  empty() {
    rmSync(this.#file())
  }

  #file(): string {
    return join(this.outside, 'file-of-others')
  }
}

/** Why no tmpfs can be mounted here; false if one can. */
export function noDisk(): string | false {
  const script = 'mount -t tmpfs none /mnt && exec nsenter --mount=/proc/$$/ns/mnt true'
  try {
    execFileSync('unshare', ['--mount', 'sh', '-c', script], { stdio: 'ignore' })
    return false
  } catch {
    return 'only root on Linux may mount a tmpfs'
  }
}
