/** Every English sentence of the application, the viewer and the editing tools, in one place, to be translated; `index.html` has the fixed ones. */

import type { Sequence } from '../pipeline/sequences'

const SEQUENCES: Readonly<Record<Sequence, string>> = { flair: 'FLAIR', t1: 'T1', t1ce: 'T1ce', t2: 'T2' }

const OVERLAYS: Readonly<Record<string, string>> = {
  segmentation: 'Segmentation',
  reference: 'Reference',
  'agreement WT': 'Agreement: whole tumour',
  'agreement TC': 'Agreement: tumour core',
  'agreement ET': 'Agreement: enhancing tumour',
  none: 'None',
}

export const text = {
  notice: 'Research software, not a medical device.',
  viewer: 'Viewer',
  noGraphics:
    'This browser cannot draw the scans: it has no WebGL 2. Switch hardware acceleration on in its settings, or use a current Firefox, Chrome, Edge or Safari.',
  tooLarge: (name: string, shape: readonly number[], limit: number) =>
    `${name} has ${shape.join(' x ')} voxels; the graphics of this computer hold ${limit} along an axis. Crop or resample the scan first.`,
  lost: 'The graphics gave up, perhaps for want of memory. Your corrections are kept. Show fewer sequences, close other tabs, then choose a sequence again.',
  software: 'No graphics card is in use, so drawing is slow.',
  loading: 'Reading the scans',
  notHandedOut: (name: string, status: number) => `${name}: is not handed out any more (${status}). Start gliomask view, or open the job, again.`,
  notRead: (message: string) => `Cannot be shown: ${message}`,

  layout: 'Show',
  layouts: { axial: 'Axial', coronal: 'Coronal', sagittal: 'Sagittal', planes: 'Three planes and 3-D', render: '3-D' } as Readonly<Record<string, string>>,
  sequences: 'Sequence',
  allSequences: 'All',
  overlay: 'Overlay',
  overlayName: (name: string, maps: readonly { readonly title: string }[]) =>
    OVERLAYS[name] ?? maps[Number(name.split(' ')[1])]?.title ?? name,
  opacity: 'Opacity',
  palette: 'Colours',
  palettes: { 'okabe-ito': 'For all eyes', paper: 'As in the paper' } as Readonly<Record<string, string>>,
  screenshot: 'Save a picture',
  labels: 'Labels',
  label: (label: number) => ['Background', 'Necrotic and non-enhancing core', 'Oedema', 'Enhancing tumour'][label] ?? String(label),
  labelsShown: 'Labels shown',
  window: (sequence: string) => `Window of ${sequence}`,
  lowest: 'Black at',
  highest: 'White at',
  pane: (exam: string, sequence: string) => `${sequence} of ${exam}. Arrow keys move through slices.`,
  place: (point: readonly number[], values: string, label: string) =>
    `${point.map((mm) => mm.toFixed(1)).join(', ')} mm (R, A, S) · ${values}${label ? ` · ${label}` : ''}`,
  labelOf: (exam: string, label: string) => `${exam}: ${label || 'outside'}`,
  outside: 'Outside the scan',

  volumes: 'Volumes',
  part: 'Part',
  volumeMl: 'ml',
  referenceMl: 'Reference, ml',
  change: 'Change, ml',
  expected: 'Dice to be expected',
  expectedLine: (region: string, dice: number, low: number, high: number) =>
    `${region}: ${dice.toFixed(2)} (${low.toFixed(2)} to ${high.toFixed(2)} in 80 % of cases)`,
  notExpected: 'It cannot be said for this result.',
  measured: 'Dice against the reference',
  measuredLine: (region: string, dice: number) => `${region}: ${dice.toFixed(3)}`,
  otherGrid: 'The reference lies on another grid than the segmentation, so the two are not compared.',
  flags: 'What looks wrong',
  noFlags: 'Nothing was found.',
  expectedBefore: 'Dice to be expected, before correction',
  model: (name: string) => `Model: ${name}`,
  agreementLegend: { 1: 'both', 2: 'missed: in the reference alone', 3: 'extra: in the segmentation alone' } as Readonly<Record<number, string>>,
  keys: 'Keys and mouse',
  keyList: [
    ['Up, Down', 'next slice; with Shift ten slices'],
    ['A, C, S, M, R', 'axial, coronal, sagittal, three planes, 3-D'],
    ['1, 2, 3', 'a label on or off'],
    ['O', 'overlay on or off'],
    ['[ and ]', 'less or more opacity'],
    ['Click', 'move the crosshair in all pictures'],
    ['Wheel', 'next slice'],
    ['Right button', 'drag over a part: its intensities fill the window; double click resets'],
    ['Ctrl Z, Ctrl Shift Z', 'undo, redo a correction'],
  ] as readonly (readonly [string, string])[],

  edit: 'Correct',
  tool: 'Tool',
  tools: { look: 'Look', paint: 'Paint', erase: 'Erase', grow: 'Grow from a seed', relabel: 'Relabel a part' } as Readonly<Record<string, string>>,
  drawLabel: 'Label',
  radius: 'Radius, mm',
  tolerance: 'Tolerance, %',
  overOthers: 'Over other labels, too',
  fill: 'Fill between slices',
  undo: 'Undo',
  redo: 'Redo',
  who: 'Your name or initials',
  save: 'Save the correction',
  fillNeedsTwo: (label: string) => `Paint ${label.toLowerCase()} on two slices of one plane first, with slices between them.`,
  filled: (voxels: number) => `Filled ${voxels} voxels.`,
  grown: (voxels: number) => `Grown by ${voxels} voxels.`,
  growStopped: (radius: number) => `Growing stopped ${radius} mm from the seed. Lower the tolerance if it ran over.`,
  growOtherGrid: 'This scan lies on another grid than the label map. Grow on another sequence.',
  nothingThere: 'There is no label here.',
  nothingChanged: 'Nothing has been changed, so there is no correction to save.',
  whoNeeded: 'Say who you are first; a correction without a name is not saved.',
  saved: (place: string) => `Saved: ${place}`,
  savedOnServer: (number: number) => `Saved on the server as correction ${number} of this job.`,
  saving: 'Saving',
  savedAs: (name: string) => `Downloaded: ${name}. Unpack it into a folder of corrections, then: gliomask train FOLDER --from MODEL -o RUN.`,
  notSaved: (message: string) => `Not saved: ${message}`,
  unsaved: 'There are corrections that are not saved.',
  smallScreen: 'Correcting needs a wider screen or a pen; looking works here.',

  phone:
    'This looks like a phone. Segmenting needs some 2 GB of memory and takes minutes here; phones often end such a page. Use a computer with a mouse where you can.',
  littleMemory: (gb: number) =>
    `This device has about ${gb} GB of memory; segmenting needs some 2 GB for itself. Close other tabs and programs first, or use another computer.`,
  oneProcessor: 'The browser may use one processor here, so segmenting takes minutes.',
  cannotShow: 'This browser has no WebGL 2: it can segment, and the files can be downloaded, but the result cannot be shown.',
  background: 'The page was in the background meanwhile, where browsers slow it down or end it. Keep it in front until it is done.',
  outOfMemory: (message: string) =>
    `The tab ran out of memory (${message}). Close other tabs, or use a computer with more memory; a BraTS case needs about 2 GB.`,
  workerNotStarted: 'The worker could not be started, perhaps for want of memory. Close other tabs and load the page again.',
  noServiceWorker:
    'This browser keeps no service worker here (https or localhost is needed), so one thread is used and the network is needed each time.',
  notKept: (message: string) => `The application cannot be kept for use without a network (${message}).`,
  notIsolated: 'This browser does not isolate the page, so one thread is used: segmenting takes several times as long.',
  titleProgress: (percent: number) => `${percent} % · gliomask`,
  titleDone: 'Done · gliomask',
  moved: (from: string, to: string, voxels: number, ml: number) => `${from} to ${to}: ${voxels} voxel${voxels === 1 ? '' : 's'}, ${ml.toFixed(3)} ml`,
  correctedDownloads: 'The label map was changed: what is downloaded, and the volumes here, are of the corrected map.',

  theseFiles: 'these files',
  tooManyFiles: (limit: number) => `The folder holds more than ${limit} files. Give the folder of one examination.`,
  tooDeep: (limit: number) => `There are more than ${limit} folders in one another. Give the folder of one examination.`,
  nothingGiven: 'Nothing was found in what was dropped. Give files, a folder or a zip.',
  severalFiles: (sequence: Sequence, count: number) => `${count} files are named as ${SEQUENCES[sequence]}: choose one.`,
  leftAlone: (count: number) => (count === 1 ? 'One other file was left alone.' : `${count} other files were left alone.`),
  series: (label: string, description: string, images: number) => `${label}: ${description || 'no description'} (${images} image${images === 1 ? '' : 's'})`,
  takenFor: (label: string, description: string, reason: string) => `Series ${label}${description ? `, ${description}` : ''}: ${reason}.`,
  readingHeaders: (done: number, total: number) => `Reading DICOM headers, ${done} of ${total}`,
  converting: (title: string) => `Converting series ${title}`,
  chooseOne: 'Choose a file or series for FLAIR or T1ce, at least.',
  rawGrids:
    'The sequences were scanned on grids of their own. The browser does not register scans; the command line does: gliomask segment FOLDER -o RESULTS ' +
    '(extra raw; it also takes the skull off).',

  noSequence: 'none: the patient does not have it',
  cancelled: 'Cancelled.',
  progress: (stage: 'reading' | 'model' | 'network', secondsLeft: number | null, onCard: boolean) =>
    ({ reading: 'Reading the scans', model: 'Loading the model', network: onCard ? 'Segmenting on the graphics card' : 'Segmenting' })[stage] +
    (secondsLeft === null ? '' : `, about ${Math.ceil(secondsLeft)} s left`),
  done: (seconds: number, threads: number) => `Done in ${seconds.toFixed(1)} s with ${threads} thread${threads > 1 ? 's' : ''}.`,
  doneOnCard: (seconds: number) => `Done in ${seconds.toFixed(1)} s on the graphics card.`,
  cardNotUsed: (why: string) => `The graphics card was not used: ${why}.`,
  // What stands in the run record, and after "was not used:".
  noWebGpu: 'this browser has no WebGPU',
  noJspi: 'this browser lacks JSPI (JavaScript Promise Integration)',
  noCard: 'no graphics card offers WebGPU',
  softwareCard: 'no graphics card is in use; WebGPU would run on the processor',
  smallCard: 'it takes too little memory at once',
  slowCard: (seconds: number) => `it did not answer within ${seconds} s`,
  cardFailed: (message: string) => `it failed while it worked (${message}); the processor went on from there`,
  notWanted: 'it was not asked for',

  sequence: (sequence: Sequence) => SEQUENCES[sequence],
} as const
