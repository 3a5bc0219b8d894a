import { runRoom } from './rooms.js'

await runRoom('messaging')
