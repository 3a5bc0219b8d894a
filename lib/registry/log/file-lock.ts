import { closeSync, fstatSync, openSync, statSync } from 'node:fs'
import { createRequire } from 'node:module'
import { PRIVATE_FILE } from './data-folder.js'

const require = createRequire(import.meta.url)

/** The part that we call of the library that also locks the logs. It is loaded when it is first needed. */
const locks = () =>
  require('fs-native-extensions') as {
    /** @returns false if another open file has the lock */
    tryLock(descriptor: number): boolean
    /** Blocks the process until it has the lock. */
    waitForLockSync(descriptor: number): void
  }

/**
 * An exclusive lock on a file. The operating system holds it for the open file, so it also keeps out others in
 * this process, and ends with the process, however that ends: there are no stale locks. The file stays, since
 * a lock on a file that was unlinked and made anew would keep nobody out.
 */
export class FileLock {
  #descriptor: number | null

  private constructor(descriptor: number) {
    this.#descriptor = descriptor
  }

  /**
   * Takes the lock if nobody has it, and returns null if somebody does. The file is made if there is none.
   *
   * @throws an error of the file system
   */
  static tryTake(file: string): FileLock | null {
    return FileLock.#open(file, (descriptor) => locks().tryLock(descriptor))
  }

  /**
   * Takes the lock as soon as nobody else has it. This blocks the process, so the lock must be one that is
   * held for a moment only.
   *
   * @throws an error of the file system
   */
  static take(file: string): FileLock {
    const lock = FileLock.#open(file, (descriptor) => {
      locks().waitForLockSync(descriptor)
      return true
    })
    return lock as FileLock
  }

  static #open(file: string, lock: (descriptor: number) => boolean): FileLock | null {
    const descriptor = openSync(file, 'a', PRIVATE_FILE)
    let isTaken = false
    try {
      isTaken = lock(descriptor)
    } finally {
      if (!isTaken) closeSync(descriptor)
    }
    return isTaken ? new FileLock(descriptor) : null
  }

  /** Whether a path leads to the file that is locked still: it may have been replaced by another since. */
  isOf(path: string): boolean {
    if (this.#descriptor === null) return false
    const [locked, there] = [fstatSync(this.#descriptor), statSync(path)]
    return locked.ino === there.ino && locked.dev === there.dev
  }

  /** Lets others have it. May be called more than once. */
  release() {
    if (this.#descriptor !== null) closeSync(this.#descriptor)
    this.#descriptor = null
  }
}
