#!/usr/bin/env node
import { refusalOf } from './node-version.js'

// An older Node cannot read what the rest imports. So this file and node-version.ts import nothing else, and
// are written in the JavaScript of 2020: the reader gets one line that says what to do, and no syntax error.
const refusal = refusalOf(process.versions.node)
if (refusal === null) {
  import('./main.js').catch((error) => {
    // Even the parts of this program may be more files than this process may open.
    if (!/^(EMFILE|ENFILE)$/.test(error.code)) throw error
    console.error(
      'STORAGE_FAILED: this process may not open as many files as it needs; let it have more, as with ulimit -n 1024'
    )
    process.exitCode = 1
  })
} else {
  console.error(refusal)
  process.exitCode = 1
}
