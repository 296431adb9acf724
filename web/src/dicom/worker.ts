/** The worker that reads DICOM headers; it is loaded only where a person gives DICOM files. */

import { InputError } from '../pipeline/errors'
import { readDicomHeader } from './headers'
import type { Asked, Told } from './messages'
import { surveyOf } from './survey'

const say = (told: Told) => self.postMessage(told)

self.onmessage = async ({ data }: MessageEvent<Asked>) => {
  try {
    const read = []
    let other = 0
    for (const [n, file] of data.files.entries()) {
      const header = await readDicomHeader(file)
      if (header) read.push({ file: n, header })
      else other++
      if (n % 50 === 0) say({ kind: 'progress', done: n + 1, total: data.files.length })
    }
    say({ kind: 'survey', survey: surveyOf(data.title, read, other) })
  } catch (error) {
    say({ kind: 'failed', input: error instanceof InputError, message: error instanceof Error ? error.message : String(error) })
  }
}
