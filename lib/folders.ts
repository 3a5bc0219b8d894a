/** Where a user's files are, and how one is replaced. */
export { replaceFile } from './core/replace-file.js'
export { FileLock, makeFolder, userDir } from './registry/log/own-keys.js'
