package onekey

// A point on the curve -x^2 + y^2 = 1 + d x^2 y^2, in extended coordinates:
// x = X/Z, y = Y/Z, xy = T/Z (Hisil, Wong, Carter, Dawson: Twisted Edwards Curves
// Revisited). The formulas here are complete: they hold for all points, those of
// small order included.
type point struct{ x, y, z, t field }

var identity = point{y: one, z: one}

// An affine point in the form in which adding it is cheapest.
type affine struct{ yPlusX, yMinusX, t2d field }

// decode reads a canonical encoding (RFC 8032, section 5.1.3).
func decode(b *[32]byte) (p point, ok bool) {
	p.y.setBytes(b)
	p.z = one
	sign := b[31]>>7 == 1
	canonical := p.y.bytes()
	canonical[31] |= b[31] & 0x80
	if canonical != *b {
		return p, false
	}
	var yy, u, v field
	yy.square(&p.y)
	u.subtract(&yy, &one)
	v.multiply(&yy, &d)
	v.add(&v, &one)
	if !p.x.squareRoot(&u, &v) {
		return p, false
	}
	if p.x.negative() != sign {
		if p.x.equal(&zero) {
			return p, false
		}
		p.x.negate(&p.x)
	}
	p.t.multiply(&p.x, &p.y)
	return p, true
}

// encode gives the encoding (RFC 8032, section 5.1.2), for which 1/Z has to be given.
func (p *point) encode(inverse *field) [32]byte {
	var x, y field
	x.multiply(&p.x, inverse)
	y.multiply(&p.y, inverse)
	b := y.bytes()
	if x.negative() {
		b[31] |= 0x80
	}
	return b
}

// inversions sets out[i] to 1/Z of points[i] with one inversion for all of them
// (Montgomery's trick): of the product of all, from which each is taken off again.
// No Z is zero, since the formulas here are complete.
func inversions(out []field, points []point) {
	product := one
	for i := range points {
		out[i] = product
		product.multiply(&product, &points[i].z)
	}
	var inverse field
	inverse.invert(&product)
	for i := len(points) - 1; i >= 0; i-- {
		out[i].multiply(&out[i], &inverse)
		inverse.multiply(&inverse, &points[i].z)
	}
}

// add sets p to p + q, or to p - q.
func (p *point) add(q *affine, minus bool) {
	var a, b, c, dd, e, sum, difference, h field
	plus, less, f, g := &q.yPlusX, &q.yMinusX, &difference, &sum
	if minus {
		plus, less, f, g = less, plus, g, f
	}
	a.subtract(&p.y, &p.x)
	a.multiply(&a, less)
	b.add(&p.y, &p.x)
	b.multiply(&b, plus)
	c.multiply(&p.t, &q.t2d)
	dd.add(&p.z, &p.z)
	e.subtract(&b, &a)
	difference.subtract(&dd, &c)
	sum.add(&dd, &c)
	h.add(&b, &a)
	p.finish(&e, f, g, &h)
}

// addPoint sets p to p + q.
func (p *point) addPoint(q *point) {
	var a, b, c, dd, e, f, g, h, t field
	a.subtract(&p.y, &p.x)
	t.subtract(&q.y, &q.x)
	a.multiply(&a, &t)
	b.add(&p.y, &p.x)
	t.add(&q.y, &q.x)
	b.multiply(&b, &t)
	c.multiply(&p.t, &q.t)
	c.multiply(&c, &d2)
	dd.multiply(&p.z, &q.z)
	dd.add(&dd, &dd)
	e.subtract(&b, &a)
	f.subtract(&dd, &c)
	g.add(&dd, &c)
	h.add(&b, &a)
	p.finish(&e, &f, &g, &h)
}

func (p *point) finish(e, f, g, h *field) {
	p.x.multiply(e, f)
	p.y.multiply(g, h)
	p.t.multiply(e, h)
	p.z.multiply(f, g)
}

// A table has the multiples of a point P that make up any [s]P: for the digit i of
// s to the base 2^window, (j+1) * 2^(window*i) * P is at i<<(window-1) + j.
type table struct {
	window    uint
	multiples []affine
}

// Large windows take less additions, small ones are made sooner.
const (
	smallWindow = 5
	largeWindow = 8
)

func newTable(p *point, window uint) *table {
	digits, entries := digits(window), 1<<(window-1)
	multiples := make([]point, 0, digits*entries)
	next := *p
	for range digits {
		first := next
		for range entries {
			multiples = append(multiples, next)
			next.addPoint(&first)
		}
		// The last of these is half of what the next digit begins with.
		next = multiples[len(multiples)-1]
		next.addPoint(&multiples[len(multiples)-1])
	}
	inverses := make([]field, len(multiples))
	inversions(inverses, multiples)
	t := &table{window, make([]affine, len(multiples))}
	for i := range multiples {
		var x, y field
		x.multiply(&multiples[i].x, &inverses[i])
		y.multiply(&multiples[i].y, &inverses[i])
		a := &t.multiples[i]
		a.yPlusX.add(&y, &x)
		a.yPlusX.carry()
		a.yMinusX.subtract(&y, &x)
		a.yMinusX.carry()
		a.t2d.multiply(&x, &y)
		a.t2d.multiply(&a.t2d, &d2)
	}
	return t
}

// addMultiple sets p to p + [s]P, where t is P's table.
func (p *point) addMultiple(t *table, s *scalar) {
	var buffer [maxDigits]int16
	multiples := t.multiples
	for _, digit := range s.recode(buffer[:], t.window) {
		switch {
		case digit > 0:
			p.add(&multiples[digit-1], false)
		case digit < 0:
			p.add(&multiples[-digit-1], true)
		}
		multiples = multiples[1<<(t.window-1):]
	}
}
