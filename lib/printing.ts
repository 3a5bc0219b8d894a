/** Text and JSON of others, as they may be shown. It is quick to load. */
export { printable, printableJson } from './core/printable.js'
