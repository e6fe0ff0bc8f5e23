package main

import "html/template"

// page is what the shop shows to a browser. A page of the catalogue is the same
// for everybody, so nothing on it says who looks at it.
var page = template.Must(template.New("page").Parse(`<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{{.Title}} · shop.example</title>
<style>
body{font:16px/1.5 system-ui,sans-serif;color:#222;max-width:56rem;margin:0 auto;padding:1.5rem}
header{display:flex;align-items:center;gap:1.5rem;border-bottom:1px solid #ddd;padding-bottom:1rem}
header img{display:block;border-radius:6px}nav a{margin-right:1rem}a{color:#1f6f8b}
.goods{display:grid;grid-template-columns:repeat(auto-fill,minmax(12rem,1fr));gap:1rem}
.goods>div{border:1px solid #ddd;border-radius:8px;padding:1rem}
details{margin-bottom:1rem}form{margin:.6rem 0 0}button,input{font:inherit;padding:.2rem .6rem}
button{border:0;border-radius:5px;background:#1f6f8b;color:#fff;cursor:pointer}
footer{margin-top:3rem;color:#777;font-size:.85rem}
</style>
<header><a href="/"><img src="/media/logo.png" alt="shop.example" width="90" height="60"></a>
<nav><a href="/">catalogue</a><a href="/cart">cart</a><a href="/admin">administration</a></nav></header>
<h1>{{.Title}}</h1>
{{with .Text}}<p>{{.}}</p>{{end}}
{{if .Home}}<details><summary>What to try</summary><ul>
<li>Reload: the time below stays, since the cache answers. <a href="/product/1">A product's page</a> is kept likewise.
<li>Put something into the <a href="/cart">cart</a> and reload that: the time changes, the server does not.
<li><a href="/admin">Set a price</a>, and come back: the old page is gone from the cache.
<li><a href="/admin">Upload a picture</a> and open it before the cron job has copied it from the origin, web0.
<li>web0 alone answers <a href="/%61dmin">/%61dmin</a> and <a href="/index.php/admin">/index.php/admin</a> too.
</ul></details>
{{end}}<div class="goods">
{{range .Products}}<div><a href="/product/{{.SKU}}">{{.Name}}</a><br>{{.Price}}
<form method="post" action="/cart?sku={{.SKU}}"><button>into the cart</button></form></div>
{{end}}{{range $sku, $n := .Items}}<div>{{$n}} × <a href="/product/{{$sku}}">product {{$sku}}</a></div>
{{end}}</div>
{{if .Cart}}{{if .User}}<form method="post" action="/logout"><button>log out</button></form>
{{else}}<form method="post" action="/login"><input name="user" placeholder="your name" required> <button>log in</button></form>{{end}}{{end}}
{{if .Admin}}<form method="post" action="/admin/price">product <input name="sku" value="1" size="4"> costs
<input name="price" value="5.00" size="6"> <button>set the price</button></form>
<form id="upload"><input type="file" name="file" required> <button>upload as /media/NAME</button> <output></output></form>
<p><a href="/cron.php">run the cron job</a>: it copies uploaded pictures to the other servers</p>
<script>
document.getElementById("upload").onsubmit = async e => {
	e.preventDefault();
	const f = e.target.file.files[0];
	const answer = await fetch("/admin/media/" + encodeURIComponent(f.name), {method: "PUT", body: f});
	e.target.querySelector("output").textContent = await answer.text();
};
</script>{{end}}
<footer>rendered by {{.Server}} at {{.Time}}: the same time after a reload means that the cache answered</footer>
`))

type pageData struct {
	Title, Text, Server, Time string
	Products                  []offer
	Items                     map[string]int
	User                      string
	Home, Cart, Admin         bool // what else the page is for
}

type offer struct{ SKU, Name, Price string }
