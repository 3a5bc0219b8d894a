import { execFileSync } from 'node:child_process'

/** Why tests that need certificates are left out, or false. */
export const noOpenssl = hasOpenssl() ? false : 'openssl is not installed'

/** Makes a certificate of our own signing, and its key. */
export function certify(name: string, certFile: string, keyFile: string) {
  const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes']
  const files = ['-keyout', keyFile, '-out', certFile]
  const args = ['req', '-x509', ...key, ...files, '-days', '2', '-subj', `/CN=${name}`]
  execFileSync('openssl', args, { stdio: 'ignore' })
}

function hasOpenssl(): boolean {
  try {
    execFileSync('openssl', ['version'])
    return true
  } catch {
    return false
  }
}
