#!/usr/bin/env node
import { refusalOf } from './node-version.js'

// An older Node cannot read what the rest imports. So this file and node-version.ts import nothing else, and
// are written in the JavaScript of 2020: the reader gets one line that says what to do, and no syntax error.
const refusal = refusalOf(process.versions.node)
if (refusal === null) {
  void import('./main.js')
} else {
  console.error(refusal)
  process.exitCode = 1
}
