/** The page's side of the worker: one case at a time, with progress and cancelling. */

import type { Sequence } from '../pipeline/sequences'
import { text } from '../text/en'
import type { Wanted } from './choose'
import type { Answer, Done, Failed, Progress } from './messages'

/** Why a case was not segmented. */
export class SegmentationFailed extends Error {
  override name = 'SegmentationFailed'

  constructor(
    message: string,
    readonly cause: Failed['cause'] | 'cancelled',
  ) {
    super(message)
  }
}

export interface Running {
  readonly done: Promise<Done>
  readonly cancel: () => void
}

/** Starts segmenting a case; nothing leaves the page. */
export function segmentInWorker(caseId: string, files: ReadonlyMap<Sequence, File>, wanted: Wanted, progress: (now: Progress) => void): Running {
  const worker = new Worker(new URL('./worker.ts', import.meta.url), { type: 'module' })
  let stop: (reason: SegmentationFailed) => void = () => undefined
  const done = new Promise<Done>((resolve, reject) => {
    stop = reject
    worker.onmessage = ({ data }: MessageEvent<Answer>) => {
      if (data.kind === 'progress') progress(data)
      else if (data.kind === 'done') resolve(data)
      else reject(new SegmentationFailed(data.message, data.cause))
    }
    worker.onerror = (event) => reject(new SegmentationFailed(event.message || text.workerNotStarted, 'other'))
    worker.postMessage({ kind: 'segment', caseId, files, wanted, base: new URL('./', document.baseURI).href })
  }).finally(() => worker.terminate())
  return { done, cancel: () => stop(new SegmentationFailed(text.cancelled, 'cancelled')) }
}
