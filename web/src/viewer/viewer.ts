/** The viewer: linked pictures of one or two exams, an overlay, and what is known beside them. */

import type { Triple } from '../pipeline/grid'
import { PAPER_ORDER, type Sequence } from '../pipeline/sequences'
import { text } from '../text/en'
import { type Space, spaceOf } from './crop'
import { button, checkbox, download, make, menu, numberField } from './dom'
import { CannotDraw, graphics, refuseUndrawable } from './drawable'
import { type Exam, LABELS, type Scan } from './exam'
import { usualWindow } from './image'
import { type Layout, Pane } from './niivue'
import { ALL_LABELS, labelColour, namedOverlay, type Overlay, overlayNames, PALETTE_NAMES, type PaletteName } from './overlay'
import { facts } from './panel'
import { axisAlong, indexOf, type Plane, PLANES, pointOf, voxelAt } from './places'
import { spacingMm } from '../pipeline/grid'

/** Below this width (CSS pixels) one sequence is shown at first. */
const NARROW = 700
const ALL = 'all'

/** A picture of one sequence of one exam. */
export interface Frame {
  readonly exam: Exam
  readonly sequence: Sequence
  readonly scan: Scan
  readonly figure: HTMLElement
  readonly canvas: HTMLCanvasElement
  pane: Pane | null
}

export class Viewer {
  /** Called when a key is pressed over the pictures that the viewer has no use for. */
  onKey: (event: KeyboardEvent) => void = () => undefined
  /** Whether a person has changed the label map since it was opened. */
  edited = false
  /** The place of the crosshair, RAS mm. */
  point: Triple = [0, 0, 0]
  readonly frames: Frame[] = []
  readonly toolbar = make('div', { className: 'toolbar' })
  readonly side = make('aside', { className: 'side' })
  readonly pictures = make('div', { className: 'pictures' })
  private readonly windowFields = make('div', { className: 'windows' })
  private readonly place = make('p', { className: 'place' })
  readonly message = make('p', { className: 'message' })
  private readonly windows = new Map<string, [number, number]>()
  private readonly spaces = new Map<Exam, Space>()
  private layout: Layout = 'axial'
  private chosen: string
  private overlayName: string
  private opacity = 0.5
  private palette: PaletteName = 'okabe-ito'
  private shown: Set<number> = new Set(ALL_LABELS)
  private overlayOn = true
  private opening: Promise<void> = Promise.resolve()

  constructor(
    readonly root: HTMLElement,
    readonly exams: readonly Exam[],
  ) {
    this.chosen = exams.length > 1 || root.clientWidth < NARROW ? this.sequences()[0] ?? 'flair' : ALL
    this.overlayName = overlayNames(exams[0] as Exam)[0] ?? 'none'
    this.message.setAttribute('role', 'status')
    this.place.setAttribute('aria-live', 'off')
  }

  /** Builds the page and opens the pictures. Raises CannotDraw where the browser cannot. */
  async open(): Promise<void> {
    const found = graphics()
    refuseUndrawable(found, this.exams.flatMap((exam) => [...exam.scans.values()]))
    if (found?.software) this.message.textContent = text.software
    this.root.classList.add('viewer')
    const main = make('div', { className: 'stage' }, this.pictures, this.windowFields, this.place, this.message)
    this.root.replaceChildren(this.toolbar, main, this.side)
    for (const exam of this.exams) for (const sequence of PAPER_ORDER) this.addFrame(exam, sequence)
    this.buildToolbar()
    this.drawSide()
    this.root.addEventListener('keydown', (event) => this.key(event), { capture: true })
    this.point = this.middle()
    await this.arrange()
  }

  /** The label map of an exam has changed in place: draws it again. */
  refreshLabels(only?: Frame): void {
    for (const frame of only ? [only] : this.frames) {
      const overlay = this.overlayOf(frame)
      if (overlay && frame.pane && !frame.figure.hidden) frame.pane.refresh(overlay)
    }
    this.tellPlace()
  }

  /** Writes the panel beside the pictures anew, as after a correction. */
  drawSide(): void {
    const first = this.exams[0] as Exam
    const [old] = this.side.getElementsByClassName('facts')
    const now = facts(first, this.exams[1] ?? null, this.palette, this.overlayName, this.edited)
    if (old) old.replaceWith(now)
    else this.side.append(now)
  }

  /** Shows another overlay. */
  async showOverlay(name: string): Promise<void> {
    this.overlayName = name
    this.overlayOn = true
    const select = this.toolbar.querySelector<HTMLSelectElement>('[data-menu=overlay] select')
    if (select) select.value = name
    this.drawSide()
    await this.arrange()
  }

  /** The window of a sequence of an exam: black at, white at. */
  windowOf(frame: Pick<Frame, 'exam' | 'sequence' | 'scan'>): readonly [number, number] {
    const key = `${this.exams.indexOf(frame.exam)} ${frame.sequence}`
    const known = this.windows.get(key)
    if (known) return known
    const usual = usualWindow(frame.scan.values)
    this.windows.set(key, [...usual])
    return usual
  }

  /** Moves the crosshair in every picture. */
  moveTo(point: Triple, but?: Frame): void {
    this.point = point
    for (const frame of this.frames) if (frame !== but && frame.pane && !frame.figure.hidden) frame.pane.moveTo(point)
    this.tellPlace()
  }

  /** Returns the plane whose slices the arrow keys follow. */
  get plane(): Plane {
    return this.layout === 'planes' || this.layout === 'render' ? 'axial' : this.layout
  }

  private sequences(): Sequence[] {
    return PAPER_ORDER.filter((sequence) => this.exams.some((exam) => exam.scans.has(sequence)))
  }

  private addFrame(exam: Exam, sequence: Sequence): void {
    const scan = exam.scans.get(sequence)
    if (!scan) return
    const canvas = make('canvas', { tabIndex: 0 })
    canvas.setAttribute('role', 'img')
    canvas.setAttribute('aria-label', text.pane(exam.title, text.sequence(sequence)))
    const caption = this.exams.length > 1 ? `${text.sequence(sequence)} · ${exam.title}` : text.sequence(sequence)
    const figure = make('figure', {}, make('figcaption', { textContent: caption }), make('div', { className: 'canvas' }, canvas))
    figure.hidden = true
    this.pictures.append(figure)
    this.frames.push({ exam, sequence, scan, figure, canvas, pane: null })
  }

  private buildToolbar(): void {
    const exam = this.exams[0] as Exam
    const layouts = Object.entries(text.layouts).map(([value, title]) => [value, title] as const)
    const sequences = this.sequences().map((one) => [one, text.sequence(one)] as const)
    const all = this.exams.length > 1 ? [] : [[ALL, text.allSequences] as const]
    const overlays = overlayNames(exam).map((name) => [name, text.overlayName(name, exam.maps)] as const)
    const palettes = PALETTE_NAMES.map((name) => [name, text.palettes[name] ?? name] as const)
    const overlay = menu(text.overlay, overlays, this.overlayName, (name) => void this.showOverlay(name))
    overlay.dataset['menu'] = 'overlay'
    const layout = menu(text.layout, layouts, this.layout, (value) => this.setLayout(value as Layout))
    layout.dataset['menu'] = 'layout'
    const sequence = menu(text.sequences, [...all, ...sequences], this.chosen, (value) => {
      this.chosen = value
      void this.arrange()
    })
    sequence.dataset['menu'] = 'sequence'
    this.toolbar.setAttribute('role', 'group')
    this.toolbar.setAttribute('aria-label', text.viewer)
    this.toolbar.append(
      layout,
      sequence,
      overlay,
      numberField(text.opacity, 'range', [this.opacity, 0, 1, 0.05], (value) => this.setOpacity(value)),
      menu(text.palette, palettes, this.palette, (value) => this.setPalette(value as PaletteName)),
      this.labelSwitches(),
      button(text.screenshot, () => void this.savePicture()),
    )
  }

  private labelSwitches(): HTMLElement {
    const group = make('fieldset', { className: 'labels' }, make('legend', { textContent: text.labelsShown }))
    for (const label of LABELS) {
      const [red, green, blue] = labelColour(this.palette, label)
      group.append(checkbox(text.label(label), this.shown.has(label), (on) => this.showLabel(label, on), `rgb(${red} ${green} ${blue})`))
    }
    return group
  }

  private showLabel(label: number, on: boolean): void {
    if (on) this.shown.add(label)
    else this.shown.delete(label)
    this.toolbar.querySelector('.labels')?.replaceWith(this.labelSwitches())
    this.refreshLabels()
  }

  private setLayout(layout: Layout): void {
    this.layout = layout
    this.pictures.dataset['layout'] = layout
    const select = this.toolbar.querySelector<HTMLSelectElement>('[data-menu=layout] select')
    if (select) select.value = layout
    for (const frame of this.frames) if (!frame.figure.hidden) frame.pane?.setLayout(layout)
  }

  private setOpacity(opacity: number): void {
    this.opacity = Math.min(1, Math.max(0, opacity))
    const input = this.toolbar.querySelector<HTMLInputElement>('input[type=range]')
    if (input) input.value = String(this.opacity)
    for (const frame of this.frames) frame.pane?.setOpacity(this.overlayOn ? this.opacity : 0)
  }

  private setPalette(palette: PaletteName): void {
    this.palette = palette
    this.toolbar.querySelector('.labels')?.replaceWith(this.labelSwitches())
    this.drawSide()
    this.refreshLabels()
  }

  private overlayOf(frame: Frame): Overlay | null {
    return namedOverlay(frame.exam, this.overlayName, this.palette, this.shown)
  }

  /** Shows the chosen sequences; opens those that were not open yet, one after the other, and closes the others. */
  private arrange(): Promise<void> {
    this.root.dataset['busy'] = 'true'
    const mine = this.opening.then(() => this.arrangeNow()).catch((failed: unknown) => this.say(failed instanceof Error ? failed.message : String(failed)))
    this.opening = mine
    return mine.finally(() => {
      if (this.opening === mine) delete this.root.dataset['busy']
    })
  }

  private async arrangeNow(): Promise<void> {
    const wanted = this.frames.filter((frame) => this.chosen === ALL || frame.sequence === this.chosen)
    this.pictures.dataset['count'] = String(wanted.length)
    for (const frame of this.frames) frame.figure.hidden = !wanted.includes(frame)
    for (const frame of wanted) {
      if (frame.pane) await this.relay(frame)
      else await this.openFrame(frame)
    }
    this.drawWindows(wanted)
    this.tellPlace()
  }

  private async openFrame(frame: Frame): Promise<void> {
    const pane = await Pane.open(frame.canvas, frame.scan, this.spaceOf(frame.exam), this.windowOf(frame))
    frame.pane = pane
    pane.onMove = (point) => this.moveTo(point, frame)
    pane.onLost = () => this.say(text.lost)
    pane.onWindow = (low, high) => {
      this.windows.set(`${this.exams.indexOf(frame.exam)} ${frame.sequence}`, [low, high])
      this.drawWindows(this.frames.filter((one) => !one.figure.hidden))
    }
    await this.relay(frame)
  }

  private spaceOf(exam: Exam): Space {
    const known = this.spaces.get(exam) ?? spaceOf(exam)
    this.spaces.set(exam, known)
    return known
  }

  /** Brings a picture up to date with what was chosen. */
  private async relay(frame: Frame): Promise<void> {
    await frame.pane?.setOverlay(this.overlayOf(frame), this.overlayOn ? this.opacity : 0)
    frame.pane?.setLayout(this.layout)
    frame.pane?.moveTo(this.point)
  }

  private drawWindows(frames: readonly Frame[]): void {
    const fields = frames.map((frame) => {
      const [low, high] = this.windowOf(frame)
      const change = (which: 0 | 1) => (value: number) => {
        const now: [number, number] = [...this.windowOf(frame)]
        now[which] = value
        if (now[0] >= now[1]) return
        this.windows.set(`${this.exams.indexOf(frame.exam)} ${frame.sequence}`, now)
        frame.pane?.setWindow(...now)
      }
      const rounded = (value: number) => Number(value.toPrecision(4))
      const name = this.exams.length > 1 ? `${text.sequence(frame.sequence)}, ${frame.exam.title}` : text.sequence(frame.sequence)
      return make(
        'fieldset',
        { className: 'window' },
        make('legend', { textContent: text.window(name) }),
        numberField(text.lowest, 'number', [rounded(low), -1e9, 1e9, 'any'], change(0)),
        numberField(text.highest, 'number', [rounded(high), -1e9, 1e9, 'any'], change(1)),
      )
    })
    this.windowFields.replaceChildren(...fields)
  }

  /** The middle of the tumour, or of the scan where there is none. */
  private middle(): Triple {
    const exam = this.exams[0] as Exam
    const map = exam.segmentation ?? exam.reference
    const scan = [...exam.scans.values()][0] as Scan
    const grid = map?.grid ?? scan.grid
    const sums = [0, 0, 0, 0]
    map?.values.forEach((value, v) => {
      if (!value) return
      const [width, height] = grid.shape
      const add = (n: number, amount: number) => (sums[n] = (sums[n] as number) + amount)
      add(0, v % width)
      add(1, Math.floor(v / width) % height)
      add(2, Math.floor(v / (width * height)))
      add(3, 1)
    })
    const count = sums[3] as number
    return pointOf(grid, count ? [0, 1, 2].map((n) => Math.round((sums[n] as number) / count)) : grid.shape.map((n) => Math.floor(n / 2)))
  }

  private tellPlace(): void {
    const values = this.frames
      .filter((frame) => !frame.figure.hidden)
      .map(({ scan, sequence }) => {
        const voxel = voxelAt(scan.grid, this.point)
        return voxel ? `${text.sequence(sequence)} ${Number((scan.values[indexOf(scan.grid, voxel)] as number).toPrecision(4))}` : ''
      })
      .filter(Boolean)
    const labels = this.exams.map((exam) => this.labelHere(exam))
    // Two results, or two visits, may say two things of one place.
    const label = new Set(labels).size > 1 ? labels.map((one, n) => text.labelOf((this.exams[n] as Exam).title, one)).join(', ') : (labels[0] ?? '')
    this.place.textContent = values.length ? text.place(this.point, values.join(', '), label) : text.outside
  }

  /** The label at the crosshair, in words; empty outside the label map. */
  private labelHere({ segmentation }: Exam): string {
    const voxel = segmentation && voxelAt(segmentation.grid, this.point)
    return voxel ? text.label(segmentation.values[indexOf(segmentation.grid, voxel)] as number) : ''
  }

  /** Moves by slices of the plane that is shown. */
  step(slices: number): void {
    const world = PLANES[this.plane]
    const { grid } = (this.frames.find((frame) => !frame.figure.hidden) ?? (this.frames[0] as Frame)).scan
    const point: Triple = [...this.point]
    point[world] += slices * spacingMm(grid)[axisAlong(grid, world)]
    if (voxelAt(grid, point)) this.moveTo(point)
  }

  private key(event: KeyboardEvent): void {
    if (!(event.target instanceof HTMLCanvasElement) || !this.pictures.contains(event.target)) return
    // The drawing library has keys of its own, which say and do other things.
    event.stopPropagation()
    const plain = !(event.ctrlKey || event.metaKey || event.altKey)
    const actions: Readonly<Record<string, () => void>> = {
      ArrowUp: () => this.step(event.shiftKey ? 10 : 1),
      ArrowDown: () => this.step(event.shiftKey ? -10 : -1),
      a: () => this.setLayout('axial'),
      c: () => this.setLayout('coronal'),
      s: () => this.setLayout('sagittal'),
      m: () => this.setLayout('planes'),
      r: () => this.setLayout('render'),
      '1': () => this.showLabel(1, !this.shown.has(1)),
      '2': () => this.showLabel(2, !this.shown.has(2)),
      '3': () => this.showLabel(3, !this.shown.has(3)),
      o: () => {
        this.overlayOn = !this.overlayOn
        this.setOpacity(this.opacity)
      },
      '[': () => this.setOpacity(this.opacity - 0.1),
      ']': () => this.setOpacity(this.opacity + 0.1),
    }
    const action = plain ? actions[event.key] : undefined
    if (!action) return this.onKey(event)
    event.preventDefault()
    action()
  }

  /** Writes the pictures that are shown into one PNG. */
  private async savePicture(): Promise<void> {
    const frames = this.frames.filter((frame) => !frame.figure.hidden && frame.pane)
    const columns = Math.min(2, frames.length)
    const [width, height] = [frames[0]?.canvas.width ?? 0, frames[0]?.canvas.height ?? 0]
    const sheet = make('canvas', { width: width * columns, height: height * Math.ceil(frames.length / columns) })
    const brush = sheet.getContext('2d') as CanvasRenderingContext2D
    frames.forEach((frame, n) => {
      frame.pane?.redraw()
      brush.drawImage(frame.canvas, (n % columns) * width, Math.floor(n / columns) * height)
    })
    const blob = await new Promise<Blob | null>((resolve) => sheet.toBlob(resolve, 'image/png'))
    if (blob) download(`${(this.exams[0] as Exam).id}.png`, blob)
  }

  /** Says something below the pictures. */
  say(message: string): void {
    this.message.textContent = message
  }

  /** Ends the pictures. */
  close(): void {
    for (const frame of this.frames) frame.pane?.close()
  }
}

/** Opens the viewer in an element; where the browser cannot draw, says so there and returns null. */
export async function openViewer(root: HTMLElement, exams: readonly Exam[]): Promise<Viewer | null> {
  const viewer = new Viewer(root, exams)
  try {
    await viewer.open()
    return viewer
  } catch (failed) {
    if (!(failed instanceof CannotDraw)) throw failed
    const message = make('p', { className: 'error', textContent: failed.message })
    message.setAttribute('role', 'alert')
    root.replaceChildren(message)
    const about = make('aside', { className: 'side' })
    about.append(facts(exams[0] as Exam, exams[1] ?? null, 'okabe-ito', 'none'))
    root.append(about)
    return null
  }
}
