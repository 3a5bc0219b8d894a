/** Where a user's files are. */
export { makeFolder, userDir } from './registry/log/storage.js'
