/** Keys, seeds and errors: what an identity takes, without anything of the network. It is quick to load. */

export { SeaportError } from './core/errors.js'
export { homeFolder } from './core/home-folder.js'
export { KeyPair, parseKey, randomSeed, toHex } from './core/keys.js'
export { readPipeAhead, readSmallFile, whyUnread } from './core/small-file.js'
export { keepProcessKey, nextServiceKey } from './registry/log/own-keys.js'
