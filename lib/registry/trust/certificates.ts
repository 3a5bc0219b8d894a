import { type Certificate, fresher } from './certificate.js'

/** The newest certificate of each log that we know of. Keys are hex. */
export class Certificates extends Map<string, Certificate> {
  /** Whether it says more than the one that we have of its log. */
  isNews(certificate: Certificate): boolean {
    const known = this.get(certificate.logKey)
    return !known || fresher(known, certificate) !== known
  }

  /** The one that was renewed last. */
  get newest(): Certificate | undefined {
    let newest: Certificate | undefined
    for (const certificate of this.values()) {
      if (!newest || certificate.renewedAt > newest.renewedAt) newest = certificate
    }
    return newest
  }

  /** The certificate of the log that a registrar writes now. It may have begun a new one. */
  ofRegistrar(registrarKey: string): Certificate | undefined {
    let newest: Certificate | undefined
    for (const certificate of this.values()) {
      if (certificate.registrarKey !== registrarKey) continue
      if (!newest || certificate.startedAt > newest.startedAt) newest = certificate
    }
    return newest
  }
}
