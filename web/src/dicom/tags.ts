/** What a DICOM file says about its series, as plain values; see `gliomask.io.dicom.headers.Tags`. */

/** Times in ms, absent text is empty. */
export interface Tags {
  readonly seriesUid: string
  readonly studyUid: string
  readonly patient: string
  readonly transferSyntax: string
  readonly sopClass: string
  readonly modality: string
  readonly samplesPerPixel: number
  readonly photometric: string
  readonly number: number | null
  readonly description: string
  readonly protocol: string
  readonly sequenceName: string
  readonly imageType: readonly string[]
  readonly scanningSequence: readonly string[]
  readonly acquisitionContrast: string
  readonly repetitionTimeMs: number | null
  readonly echoTimeMs: number | null
  readonly inversionTimeMs: number | null
  readonly contrastAgent: string
  readonly bValue: number | null
}
