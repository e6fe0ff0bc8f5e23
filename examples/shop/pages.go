package main

import "html/template"

// page is what the shop's HTML has in common.
var page = template.Must(template.New("page").Parse(`<!doctype html>
<html lang="en"><meta charset="utf-8"><title>{{.Title}} · shop.example</title>
<style>body{font:16px/1.5 system-ui,sans-serif;max-width:44rem;margin:2rem auto;padding:0 1rem}
a{color:#1f6f8b}footer{margin-top:3rem;color:#777;font-size:.85rem}button{font:inherit}</style>
<p><a href="/"><img src="/media/logo.png" alt="shop.example" width="120" height="80"></a> <a href="/cart">cart</a></p>
<h1>{{.Title}}</h1>
{{range .Products}}<p><a href="/product/{{.SKU}}">{{.Name}}</a> {{.Price}}
<form method="post" action="/cart?sku={{.SKU}}"><button>into the cart</button></form>
{{end}}{{with .Text}}<p>{{.}}{{end}}
{{range $sku, $n := .Items}}<p>{{$n}} × <a href="/product/{{$sku}}">{{$sku}}</a>{{end}}
<footer>rendered by {{.Server}} at {{.Time}}</footer>
`))

type pageData struct {
	Title, Text, Server, Time string
	Products                  []offer
	Items                     map[string]int
}

type offer struct{ SKU, Name, Price string }
