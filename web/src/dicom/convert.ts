/** DICOM series to NIfTI, by dcm2niix in workers of their own; loaded only where a person gives DICOM files. */

import { Dcm2niix } from '@niivue/dcm2niix'

import { InputError } from '../pipeline/errors'
import type { Asked, Told } from './messages'
import type { Series, Survey } from './survey'

/** dcm2niix holds all files of a series and the volume in 2 GB of its own memory. */
const MAX_SERIES_BYTES = 2 ** 29

/** Reads the headers of files and tells which series is which sequence. */
export function surveyFiles(title: string, files: readonly File[], progress: (done: number, total: number) => void): Promise<Survey<File>> {
  const worker = new Worker(new URL('./worker.ts', import.meta.url), { type: 'module' })
  return new Promise<Survey<File>>((resolve, reject) => {
    worker.onmessage = ({ data }: MessageEvent<Told>) => {
      if (data.kind === 'progress') progress(data.done, data.total)
      else if (data.kind === 'failed') reject(data.input ? new InputError(data.message) : new Error(data.message))
      else resolve(withFiles(data.survey, files))
    }
    worker.onerror = (event) => reject(new Error(event.message || 'The DICOM reader could not be started. Load the page again.'))
    worker.postMessage({ title, files } satisfies Asked)
  }).finally(() => worker.terminate())
}

function withFiles(survey: Survey<number>, files: readonly File[]): Survey<File> {
  const given = new Map(survey.series.map((one) => [one.label, { ...one, files: one.files.map((n) => files[n] as File) }]))
  const chosen = [...survey.chosen].map(([sequence, one]) => [sequence, given.get(one.label) as Series<File>] as const)
  return { ...survey, series: [...given.values()], chosen: new Map(chosen) }
}

export interface Conversion {
  readonly done: Promise<File>
  readonly cancel: () => void
}

/** Converts one series to one volume, `series_<label>.nii`; the patient's name is in no name. */
export function convertSeries(series: Series<File>): Conversion {
  const converter = new Dcm2niix()
  let stop: (reason: Error) => void = () => undefined
  const stopped = new Promise<never>((_, reject) => {
    stop = reject
  })
  const done = Promise.race([stopped, converted(converter, series)]).finally(() => converter.worker?.terminate())
  return { done, cancel: () => stop(new DOMException('Cancelled.', 'AbortError')) }
}

async function converted(converter: Dcm2niix, series: Series<File>): Promise<File> {
  const bytes = series.files.reduce((sum, file) => sum + file.size, 0)
  if (bytes > MAX_SERIES_BYTES) {
    throw new InputError(`Series ${series.label}: has ${bytes >> 20} MiB, more than the browser converts (${MAX_SERIES_BYTES >> 20} MiB). ${BY_COMMAND}`)
  }
  await converter.init()
  // Numbers for names: those of exports collide between folders, and hold patients' names.
  const files = series.files.map((file, n) => new File([file], `${String(n).padStart(6, '0')}.dcm`))
  const made = await converter
    .input(files)
    .b('n')
    .f('volume')
    .x('i')
    .p('n')
    .z('n')
    .run()
    .catch((error: unknown) => {
      throw new InputError(`Series ${series.label}: dcm2niix cannot convert it (${error instanceof Error ? error.message : String(error)}). ${BY_COMMAND}`)
    })
  return theVolume(series.label, made)
}

const BY_COMMAND = 'Use the command line: gliomask segment FOLDER.'

/** Returns the one volume; what dcm2niix resampled or took apart is not used. */
export function theVolume(label: string, made: readonly File[]): File {
  const volumes = made.filter((file) => /\.nii$/.test(file.name))
  if (volumes.some((file) => /_(Eq|Tilt)/.test(file.name))) {
    throw new InputError(`Series ${label}: its slices are unevenly spaced or stacked off their normal (gantry tilt). Give another series, or resample it first.`)
  }
  if (volumes.length !== 1) {
    throw new InputError(`Series ${label}: comes apart into ${volumes.length} volumes; one is needed. ${BY_COMMAND}`)
  }
  return new File([volumes[0] as File], `series_${label}.nii`)
}
